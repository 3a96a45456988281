"""The record of a run: `result.json`, with `metrics.jsonl` beside it.

It is written whole, with status waiting when the run is planned and again when the run has ended.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AllowInfNan, Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from said_lightning.errors import UserError
from said_lightning.runs.files import write_whole

FORMAT = 1
RESULT = "result.json"
METRICS = "metrics.jsonl"
# A run with a seed from here on chooses (a rate, a length, a range of d) and is never reported.
CHOOSING = 1000

Status = Literal["done", "failed", "running", "preempted", "waiting"]
Method = Literal["full", "did", "said"]
Finite = Annotated[float, AllowInfNan(False)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A layer group: how many weights it counts, and SAID's learned scale lambda for it."""

    D: int
    scale: Annotated[Finite | None, Field(alias="lambda")] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """The metric that d90 is about: a run's value, and what the majority class scores.

    Both are of the report rows: after the last epoch, or in the best one where dev chooses too.
    """

    name: str | None = None
    value: Finite | None = None
    trivial: Finite | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """The metric's value on the select rows at the end of one epoch; epochs count from 1."""

    epoch: int
    value: Finite | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part of the data: its split, where train is a tenth of it, and its number of rows.

    `value` is the metric after the last epoch, `trivial` what the majority class scores.
    """

    split: Literal["train", "dev", "test"]
    rows: int
    value: Finite | None
    trivial: Finite | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """The file with the scores of a run's report rows (runs/scores.py): its hash and its rows."""

    sha256: str
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainMetric:
    """The same metric on the training data, running over the last epoch."""

    name: str
    value: Finite | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """An epoch of a run whose d grows: d, the rate of theta, the metric; None if not reached."""

    d: int
    lr: Finite
    value: Finite | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One run, field for field as in `result.json`; what a run did not come to know is None.

    `mistake`: it failed since its config or its data are wrong; `reason` has a line for each error.
    `space` is what the subspace lies in (all weights, lora, bias or head), of D weights; `step` is
    the pre-training step of a model that has several. `d` counts every trained number (all D for
    method full), `m` the scales among them and `outside` the head's numbers that were trained
    outside the subspace. `rule` is step_ratio * full_lr where the rule (subspace/lr_rule.py) makes
    lr of it: two runs at one d have one rate where it is the same. `protocol` is splits where
    `report` chose nothing, dev where dev is `select` and `report`; `train_rows` are those trained
    on. `best` and `last` are on `select`, `metrics` belong to `metric`. `started` and `ended` are
    UTC. `wall_s` counts every leg of a run that was resumed; `notes` name what else its numbers
    depend on. `stages` are those of a run whose d grew, up to `d`. `folder` is where the record was
    read, and no part of the file.
    """

    format: int = FORMAT
    status: Status
    reason: str | None = None
    mistake: bool = False
    model: str
    task: str
    method: Method
    projection: str | None = None
    space: str = "all"
    step: str | None = None
    d: int | None = None
    D: int | None = None
    m: int | None = None
    outside: int | None = None
    groups: dict[str, Group] = field(default_factory=dict)
    seed: int
    lr: Finite | None = None
    rule: Finite | None = None
    metric: Metric = field(default_factory=Metric)
    best: Epoch | None = None
    last: Epoch | None = None
    protocol: Literal["splits", "dev"] | None = None
    train_rows: int | None = None
    select: Part | None = None
    report: Part | None = None
    scores: Scores | None = None
    epochs: int | None = None
    stages: list[Stage] = field(default_factory=list)
    metrics: dict[str, Finite | None] = field(default_factory=dict)
    train_metric: TrainMetric | None = None
    config_hash: str | None = None
    setting_hash: str | None = None
    fingerprint: str | None = None
    data_sha256: str | None = None
    model_sha256: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    device: str | None = None
    threads: int | None = None
    wall_s: Finite | None = None
    peak_memory_bytes: int | None = None
    started: str | None = None
    ended: str | None = None
    notes: list[str] = field(default_factory=list)
    folder: Annotated[Path | None, Field(exclude=True)] = field(default=None, compare=False)


T = TypeVar("T")
_RECORD = TypeAdapter(Record)


def write(record: Record, folder: Path) -> None:
    """Write `folder/result.json`, whole or not at all; a number that is not finite becomes null."""
    text = _RECORD.dump_json(record, indent=2, by_alias=True, warnings="error")
    write_whole(folder / RESULT, text, b"\n")


def read(path: Path) -> Record:
    """Read a `result.json`.

    Raises:
        UserError: the file cannot be read, is no record, or is of a newer format; one message.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    record = validated(_RECORD.validate_json, text, path, FORMAT, "record of a run")
    return dataclasses.replace(record, folder=path.parent)


def finished(folder: Path) -> Record | None:
    """Return the record of a run that is done, None where the folder holds none."""
    try:
        found = read(folder / RESULT)
    except UserError:
        return None
    return found if found.status == "done" else None


def validated(validate: Callable[..., T], text: bytes, path: Path, newest: int, what: str) -> T:
    """Read a versioned JSON file's content strictly.

    Raises:
        UserError: it is no JSON, of a newer format than `newest`, or not a `what`; one message.
    """
    try:
        plain = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise UserError(f"{path}: no JSON, perhaps torn: {error}") from None
    found = plain.get("format") if isinstance(plain, dict) else None
    if isinstance(found, int) and found > newest:
        raise UserError(
            f"{path}: format {found} comes from a newer said_lightning; this one reads {newest}"
        )
    try:
        return validate(text, strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: no {what}: {explain(error)}") from None


def explain(error: ValidationError) -> str:
    """Return every error as `key: what was expected, found what`."""
    errors = []
    for one in error.errors(include_url=False):
        key = ".".join(map(str, one["loc"])) or "the whole"
        found = "" if one["type"] == "missing" else f", found {one['input']!r:.60}"
        errors.append(f"{key}: {one['msg']}{found}")
    return "; ".join(errors)


def write_metrics(folder: Path, rows: Iterable[Mapping[str, float | int | str | None]]) -> None:
    """Write `folder/metrics.jsonl`, a line for each row; a number not finite becomes null."""
    lines = [to_json(dict(row), inf_nan_mode="null") + b"\n" for row in rows]
    write_whole(folder / METRICS, *lines)


def now() -> str:
    """Return the time in UTC, to the second, such as 2026-01-31T12:00:00Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
