"""From a task to its data, wherever they lie."""

from dataclasses import dataclass

from said_lightning.data.batching import subset
from said_lightning.data.examples import Collector, Examples, gather, sha256
from said_lightning.data.fields import violations
from said_lightning.data.readers.bbc import read_bbc
from said_lightning.data.readers.files import read_file, split_paths
from said_lightning.data.readers.hub import read_split
from said_lightning.data.task import FileSource, HubSource, TaskConfig, eval_source
from said_lightning.data.validate import validate_task
from said_lightning.errors import UserError


@dataclass(frozen=True)
class TaskData:
    """The splits after the limits, and the sha256 of their content; `also` by their names."""

    train: Examples
    eval: Examples
    also: dict[str, Examples]
    sha256: str


def read_task(task: TaskConfig) -> TaskData:
    """Read and check a task's data; raise UserError with every mistake in them."""
    if errors := violations(task, "task.") + validate_task(task):
        raise UserError(*errors)
    splits = _read(task)
    train, *evaluations = gather(*splits.values())
    train = train.take(subset(len(train), task.train_limit))
    evaluations = [rows.take(subset(len(rows), task.eval_limit)) for rows in evaluations]
    headline, *others = evaluations
    also = dict(zip(list(splits)[2:], others, strict=True))
    return TaskData(train, headline, also, sha256(train, *evaluations))


def data_bytes(task: TaskConfig) -> int | None:
    """Return the size of a task's local files in bytes; None where they come from elsewhere."""
    evaluation = eval_source(task)
    if task.data_dir is None or task.files is None or not isinstance(evaluation, FileSource):
        return None
    named = [(task.files, task.files.train)]
    named += [(evaluation, name) for name in (evaluation.eval, *evaluation.also.values())]
    paths = {path for files, name in named for path in split_paths(task, files, name)}
    return sum(path.stat().st_size for path in paths)


def _read(task: TaskConfig) -> dict[str, Collector]:
    """Read the training split, the headline evaluation split and the others, by name."""
    if task.data_dir is None and task.source == "bbc":
        return read_bbc(task)
    source = task.hub if task.data_dir is None else task.files
    evaluation = eval_source(task)
    assert source is not None
    assert evaluation is not None
    found = {
        "train": _read_split(task, source, source.train, task.rows.train),
        "eval": _read_split(task, evaluation, evaluation.eval, task.rows.eval),
    }
    for name, split in evaluation.also.items():
        found[name] = _read_split(task, evaluation, split, task.rows.also.get(name))
    return found


def _read_split(
    task: TaskConfig, source: HubSource | FileSource, split: str, rows: int | None
) -> Collector:
    if isinstance(source, HubSource):
        return read_split(task, source, split, rows)
    return read_file(task, source, split, rows)
