"""The reader of local files: each split is one, or several joined by +."""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from said_lightning.data.examples import Collector
from said_lightning.data.formats import open_table
from said_lightning.data.formats.lines import Read
from said_lightning.data.task import FileSource, TaskConfig, files_folder


def read_file(
    task: TaskConfig, files: FileSource, name: str, rows: int | None, most: int | None = None
) -> Collector:
    """Read and check a split; `name` is its file, or several joined by +, `rows` its row count.

    `most` is the most rows to read of each file; the others are then not counted.
    """
    paths = split_paths(task, files, name)
    found = Collector(task, files, f"{paths[-1]}:1", rows, unread=most is not None)
    read = (islice(read_rows(path, files, found), most) for path in paths)
    found.add_all(chain.from_iterable(read))
    return found


def split_paths(task: TaskConfig, files: FileSource, name: str) -> list[Path]:
    """Return the paths of a split's files."""
    return [files_folder(task, files) / part for part in name.split("+")]


def read_rows(path: Path, files: FileSource, found: Collector) -> Iterator[Read]:
    """Yield a file's rows; note in `found` what keeps them from being read."""
    try:
        table = open_table(path, files, found.columns)
        where, columns = table.where, table.columns
        if columns is None or found.has_columns(where, columns, table.wrong, table.hint):
            yield from table.rows
    except OSError as error:
        found.give_up(f"{path}:1: cannot be read: {error.strerror or error}")
