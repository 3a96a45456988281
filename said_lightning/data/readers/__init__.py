"""From a task to its data, wherever they lie."""

from collections.abc import Mapping
from dataclasses import dataclass

from said_lightning.data.batching import subset
from said_lightning.data.examples import Collector, Examples, gather, sha256
from said_lightning.data.fields import violations
from said_lightning.data.formats import size
from said_lightning.data.readers.bbc import read_bbc
from said_lightning.data.readers.files import read_file, split_paths
from said_lightning.data.readers.hub import read_split, split_labelled
from said_lightning.data.splits import Parts, SplitRows, held_out, parts, tested
from said_lightning.data.task import FileSource, HubSource, TaskConfig, eval_source
from said_lightning.data.validate import validate_splits, validate_task, validate_variety
from said_lightning.errors import UserError

# Rows of a file that show what is wrong with all of them.
FIRST = 1000


@dataclass(frozen=True)
class TaskData:
    """The splits after the limits, and the sha256 of their content; `also` by their names.

    `select` is `report` where one split does both.
    """

    train: Examples
    select: Examples
    report: Examples
    also: dict[str, Examples]
    parts: Parts
    split: float | None
    sha256: str

    @property
    def rows(self) -> SplitRows:
        """The number of rows of each part."""
        counts = len(self.train), len(self.select), len(self.report)
        return SplitRows(*counts, self.parts, self.split)


def read_task(task: TaskConfig) -> TaskData:
    """Read and check a task's data; raise UserError with every mistake in them."""
    if errors := violations(task, "task.") + validate_task(task):
        raise UserError(*errors)
    chosen = parts(task, _tested(task))
    found = _read(task, chosen)
    places = {name: one.place for name, one in found.items()}
    read = dict(zip(found, gather(*found.values()), strict=True))
    if errors := validate_splits(task, read, places):
        raise UserError(*errors)
    splits = _parted(task, chosen, read)
    train = splits.pop("train")
    train = train.take(subset(len(train), task.train_limit))
    splits = {name: rows.take(subset(len(rows), task.eval_limit)) for name, rows in splits.items()}
    report = splits.pop("report")
    select = splits.pop("select", report)
    # A tenth of few rows is one, and no mistake of the data.
    varied = {"train": train, "report": report}
    varied |= {} if chosen.select == "train" else {"select": select}
    if errors := validate_variety(task, varied):
        raise UserError(*errors)
    chosen_from = [select] if chosen.held_out else []
    digest = sha256(train, *chosen_from, report, *splits.values())
    return TaskData(train, select, report, splits, chosen, task.split, digest)


def _parted(task: TaskConfig, chosen: Parts, read: Mapping[str, Examples]) -> dict[str, Examples]:
    """Return the rows of each part, those included that are held out of the training split."""
    splits = dict(read)
    if task.split is not None and "dev" in chosen:
        rest, own = held_out(read["train"], task, task.split, "dev")
        part = "report" if chosen.report == "dev" else "select"
        splits[part], splits["train"] = read["train"].take(own), read["train"].take(rest)
    if chosen.select == "train":
        train = splits["train"]
        rest, own = held_out(train, task)
        splits["select"], splits["train"] = train.take(own), train.take(rest)
    return splits


def look_into(task: TaskConfig) -> None:
    """Read the first rows of each of a task's files; raise UserError with the mistakes in them."""
    found = _read(task, parts(task, tested(task)), FIRST)
    messages = [message for split in found.values() for message in split.messages()]
    for split in found.values():
        split.lines.close()
    if messages:
        raise UserError(*messages)


def data_bytes(task: TaskConfig) -> int | None:
    """Return the size of a task's local files in bytes; None where they come from elsewhere."""
    evaluation = eval_source(task)
    if task.data_dir is None or task.files is None or not isinstance(evaluation, FileSource):
        return None
    named = [(task.files, task.files.train)]
    others = (evaluation.eval, evaluation.test if tested(task) else None)
    named += [(evaluation, name) for name in (*others, *evaluation.also.values()) if name]
    paths = {path for files, name in named for path in split_paths(task, files, name)}
    return sum(size(path) for path in paths if path.is_file())


def _tested(task: TaskConfig) -> bool:
    """Return whether there is a labelled test set, of one on the hub by its first row."""
    source, there = eval_source(task), tested(task)
    if not there or not isinstance(source, HubSource) or task.report == "dev":
        return there
    return split_labelled(task, source, str(source.test))


def _read(task: TaskConfig, chosen: Parts, most: int | None = None) -> dict[str, Collector]:
    """Read the training split, those that select and report, and the others, by name.

    `most` is the most rows to read of each file, None for all.
    """
    if task.data_dir is None and task.source == "bbc":
        return read_bbc(task)
    source = task.hub if task.data_dir is None else task.files
    evaluation = eval_source(task)
    assert source is not None
    assert evaluation is not None
    named = {"dev": (evaluation.eval, task.rows.eval), "test": (evaluation.test, task.rows.test)}
    found = {"train": _read_split(task, source, source.train, task.rows.train, most)}
    played: dict[str, str] = {"report": chosen.report}
    if chosen.held_out and chosen.select != "train":
        played["select"] = chosen.select
    for part, split in played.items():
        if split == "dev" and task.split is not None:
            continue  # held out of the training split
        name, rows = named[split]
        found[part] = _read_split(task, evaluation, str(name), rows, most)
    for name, split in evaluation.also.items():
        found[name] = _read_split(task, evaluation, split, task.rows.also.get(name), most)
    return found


def _read_split(
    task: TaskConfig,
    source: HubSource | FileSource,
    split: str,
    rows: int | None,
    most: int | None,
) -> Collector:
    if isinstance(source, HubSource):
        return read_split(task, source, split, rows)
    return read_file(task, source, split, rows, most)
