"""The record of a run: `result.json`, with `metrics.jsonl` beside it.

It is written whole, with status waiting when the run is planned and again when the run has ended.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AllowInfNan, Field, PlainSerializer, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from said_lightning.errors import UserError
from said_lightning.runs.files import read_whole, write_whole
from said_lightning.runs.secrets import kept

FORMAT = 1
RESULT = "result.json"
METRICS = "metrics.jsonl"
# A run with a seed from here on chooses (a rate, a length, a range of d) and is never reported.
CHOOSING = 1000

Status = Literal["done", "failed", "running", "preempted", "waiting"]
# What a float32 holds, so that no sum or square of what runs measured leaves a float64.
_MOST = 1e39
Finite = Annotated[
    float,
    Field(ge=-_MOST, le=_MOST),
    PlainSerializer(lambda number: number if abs(number) <= _MOST else None, float | None),
]
# Beyond 64 bits a number is no count, and no float either.
Count = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[int, Field(ge=1, lt=2**63)]
Rate = Annotated[float, AllowInfNan(False), Field(gt=0)]
Seconds = Annotated[float, Field(ge=0, le=1e10)]
# JSON is UTF-8, and a path, or a message with one, need not be.
Text = Annotated[str, PlainSerializer(lambda text: text.encode(errors="backslashreplace").decode())]
# How many of a file's errors are named.
_NAMED = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A layer group: how many weights it counts, and SAID's learned scale lambda for it."""

    D: Count
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

    epoch: Count
    value: Finite | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part of the data: its split, where train is a tenth of it, and its number of rows.

    `value` is the metric after the last epoch, `trivial` what the majority class scores, or what a
    language model scores without training, `zero_shot`, where that is more.
    """

    split: Literal["train", "dev", "test"]
    rows: Count
    value: Finite | None
    trivial: Finite | None
    zero_shot: Finite | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """The file with the scores of a run's report rows (runs/scores.py): its hash and its rows."""

    sha256: str
    rows: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainMetric:
    """The same metric on the training data, running over the last epoch."""

    name: str
    value: Finite | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """An epoch of a run whose d grows: d, the rate of theta, the metric; None if not reached."""

    d: Positive
    lr: Rate
    value: Finite | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One run, field for field as in `result.json`; what a run did not come to know is None.

    `mistake`: it failed since its config or its data are wrong; `reason` has a line for each error.
    `method` is full, did, said, or the type of a method of PEFT, such as lora; then `method_hash`
    differs where what it is made of does, but its size. `space` is what the subspace lies in (all
    weights, lora, bias or head), of D weights; `step` is the pre-training step of a model that has
    several. `d` counts every trained number (all D for method full), `m` the scales among them and
    `outside` the head's numbers that were trained outside the subspace. `rule` is step_ratio *
    full_lr where the rule (subspace/lr_rule.py) makes lr of it, and lr * sqrt(d) of a method of
    PEFT whose rate falls with d: two runs at one d have one rate where it is the same. `lambda_lr`
    is lambda's rate. `protocol` is splits where `report` chose nothing, dev where dev is `select`
    and `report`; `train_rows` are those trained on. `best` and `last` are on `select`, `metrics`
    belong to `metric`. `started` and `ended` are UTC. `wall_s` counts every leg of a run that was
    resumed; `notes` name what else its numbers depend on. `stages` are those of a run whose d grew,
    up to `d`. `folder` is where the record was read, and no part of the file.
    """

    format: int = FORMAT
    status: Status
    reason: Text | None = None
    mistake: bool = False
    model: Text
    task: Text
    method: Text
    projection: str | None = None
    space: str = "all"
    step: str | None = None
    d: Positive | None = None
    D: Positive | None = None
    m: Count | None = None
    outside: Count | None = None
    groups: dict[str, Group] = field(default_factory=dict)
    seed: Count
    lr: Rate | None = None
    rule: Rate | None = None
    lambda_lr: Rate | None = None
    metric: Metric = field(default_factory=Metric)
    best: Epoch | None = None
    last: Epoch | None = None
    protocol: Literal["splits", "dev"] | None = None
    train_rows: Count | None = None
    select: Part | None = None
    report: Part | None = None
    scores: Scores | None = None
    epochs: Count | None = None
    stages: list[Stage] = field(default_factory=list)
    metrics: dict[str, Finite | None] = field(default_factory=dict)
    train_metric: TrainMetric | None = None
    config_hash: str | None = None
    setting_hash: str | None = None
    method_hash: str | None = None
    fingerprint: str | None = None
    data_sha256: str | None = None
    model_sha256: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    device: str | None = None
    threads: Count | None = None
    wall_s: Seconds | None = None
    peak_memory_bytes: Count | None = None
    started: str | None = None
    ended: str | None = None
    notes: list[Text] = field(default_factory=list)
    folder: Annotated[Path | None, Field(exclude=True)] = field(default=None, compare=False)


T = TypeVar("T")
_RECORD = TypeAdapter(Record)


def write(record: Record, folder: Path) -> None:
    """Write `folder/result.json`, whole; a number that no float32 holds becomes null.

    Its reason and its notes are written without secrets.
    """
    reason = None if record.reason is None else kept(record.reason)
    record = replace(record, reason=reason, notes=list(map(kept, record.notes)))
    text = _RECORD.dump_json(record, indent=2, by_alias=True, warnings="error")
    write_whole(folder / RESULT, text, b"\n")


def read(path: Path) -> Record:
    """Read a `result.json`.

    Raises:
        UserError: the file cannot be read, is no record, or is of a newer format; one message.
    """
    record = read_facts(_RECORD.validate_json, path, FORMAT, "record of a run")
    # A record is made anew for each of thousands of runs: its own path is all that a file lacks.
    object.__setattr__(record, "folder", path.parent)
    return record


def read_facts(validate: Callable[..., T], path: Path, newest: int, what: str) -> T:
    """Read a versioned JSON file strictly.

    Raises:
        UserError: it cannot be read, is no JSON, of a newer format than `newest`, or not a `what`;
            one message.
    """
    try:
        text = read_whole(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        found = validate(text, strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: {_refusal(text, error, newest, what)}") from None
    if (version := getattr(found, "format", newest)) > newest:
        raise UserError(f"{path}: {_newer(version, newest)}")
    return found


def _refusal(text: bytes, error: ValidationError, newest: int, what: str) -> str:
    """Return what is wrong with a file's content: torn, too new, or else each of its errors."""
    try:
        plain: Any = from_json(text, allow_inf_nan=False)
    except ValueError as torn:
        return f"no JSON, perhaps torn: {torn}"
    found = plain.get("format") if isinstance(plain, dict) else None
    if isinstance(found, int) and found > newest:
        return _newer(found, newest)
    return f"no {what}: {explain(error)}"


def _newer(found: int, newest: int) -> str:
    return f"format {found} comes from a newer said_lightning; this one reads {newest}"


def finished(folder: Path) -> Record | None:
    """Return the record of a run that is done, None where the folder holds none."""
    try:
        found = read(folder / RESULT)
    except UserError:
        return None
    return found if found.status == "done" else None


def explain(error: ValidationError) -> str:
    """Return the first errors as `key: what was expected, found what`."""
    errors = []
    every = error.errors(include_url=False)
    for one in every[:_NAMED]:
        key = ".".join(map(str, one["loc"])) or "the whole"
        found = "" if one["type"] == "missing" else f", found {one['input']!r:.60}"
        errors.append(f"{key}: {one['msg']}{found}")
    more = [f"and {len(every) - _NAMED} more"] if len(every) > _NAMED else []
    return "; ".join(errors + more)


def write_metrics(folder: Path, rows: Iterable[Mapping[str, float | int | str | None]]) -> None:
    """Write `folder/metrics.jsonl`, a line for each row; a number not finite becomes null."""
    lines = [to_json(dict(row), inf_nan_mode="null") + b"\n" for row in rows]
    write_whole(folder / METRICS, *lines)


def now() -> str:
    """Return the time in UTC, to the second, such as 2026-01-31T12:00:00Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
