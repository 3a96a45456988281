"""The reader of a task's own files."""

from itertools import chain
from pathlib import Path

from said_lightning.data.examples import Collector
from said_lightning.data.readers.formats import read_rows
from said_lightning.data.task import FileSource, TaskConfig, files_folder


def read_file(task: TaskConfig, files: FileSource, name: str, rows: int | None) -> Collector:
    """Read and check a split; `name` is its file, or several joined by +, `rows` its row count."""
    paths = split_paths(task, files, name)
    found = Collector(task, files, f"{paths[-1]}:1", rows)
    found.add_all(chain.from_iterable(read_rows(path, files, found) for path in paths))
    return found


def split_paths(task: TaskConfig, files: FileSource, name: str) -> list[Path]:
    """Return the paths of a split's files."""
    return [files_folder(task, files) / part for part in name.split("+")]
