"""From a task to its data, wherever they lie."""

from dataclasses import dataclass

from said_lightning.data.batching import subset
from said_lightning.data.examples import Collector, Examples, gather, sha256
from said_lightning.data.fields import violations
from said_lightning.data.readers.bbc import read_bbc
from said_lightning.data.readers.files import read_file, split_paths
from said_lightning.data.readers.hub import read_split, split_labelled
from said_lightning.data.splits import Parts, SplitRows, parts, tenth, tested
from said_lightning.data.task import FileSource, HubSource, TaskConfig, eval_source
from said_lightning.data.validate import validate_task
from said_lightning.errors import UserError


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
    sha256: str

    @property
    def rows(self) -> SplitRows:
        """The number of rows of each part."""
        return SplitRows(len(self.train), len(self.select), len(self.report), self.parts)


def read_task(task: TaskConfig) -> TaskData:
    """Read and check a task's data; raise UserError with every mistake in them."""
    if errors := violations(task, "task.") + validate_task(task):
        raise UserError(*errors)
    chosen = parts(task, _tested(task))
    found = _read(task, chosen)
    splits = dict(zip(found, gather(*found.values()), strict=True))
    train = splits.pop("train")
    if chosen.select == "train":
        rest, own = tenth(train, task.kind == "classification")
        splits["select"], train = train.take(own), train.take(rest)
    train = train.take(subset(len(train), task.train_limit))
    splits = {name: rows.take(subset(len(rows), task.eval_limit)) for name, rows in splits.items()}
    report = splits.pop("report")
    select = splits.pop("select", report)
    chosen_from = [select] if chosen.held_out else []
    digest = sha256(train, *chosen_from, report, *splits.values())
    return TaskData(train, select, report, splits, chosen, digest)


def data_bytes(task: TaskConfig) -> int | None:
    """Return the size of a task's local files in bytes; None where they come from elsewhere."""
    evaluation = eval_source(task)
    if task.data_dir is None or task.files is None or not isinstance(evaluation, FileSource):
        return None
    named = [(task.files, task.files.train)]
    named += [(evaluation, name) for name in (evaluation.eval, *evaluation.also.values())]
    if tested(task) and evaluation.test:
        named.append((evaluation, evaluation.test))
    paths = {path for files, name in named for path in split_paths(task, files, name)}
    return sum(path.stat().st_size for path in paths if path.is_file())


def _tested(task: TaskConfig) -> bool:
    """Return whether there is a labelled test set, of one on the hub by its first row."""
    source, there = eval_source(task), tested(task)
    if not there or not isinstance(source, HubSource) or task.report == "dev":
        return there
    return split_labelled(task, source, str(source.test))


def _read(task: TaskConfig, chosen: Parts) -> dict[str, Collector]:
    """Read the training split, those that select and report, and the others, by name."""
    if task.data_dir is None and task.source == "bbc":
        return read_bbc(task)
    source = task.hub if task.data_dir is None else task.files
    evaluation = eval_source(task)
    assert source is not None
    assert evaluation is not None
    named = {"dev": (evaluation.eval, task.rows.eval), "test": (evaluation.test, task.rows.test)}
    found = {"train": _read_split(task, source, source.train, task.rows.train)}
    played: dict[str, str] = {"report": chosen.report}
    if chosen.held_out and chosen.select != "train":
        played["select"] = chosen.select
    for part, split in played.items():
        name, rows = named[split]
        found[part] = _read_split(task, evaluation, str(name), rows)
    for name, split in evaluation.also.items():
        found[name] = _read_split(task, evaluation, split, task.rows.also.get(name))
    return found


def _read_split(
    task: TaskConfig, source: HubSource | FileSource, split: str, rows: int | None
) -> Collector:
    if isinstance(source, HubSource):
        return read_split(task, source, split, rows)
    return read_file(task, source, split, rows)
