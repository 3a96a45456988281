"""The reader of local files: tab-separated, CSV and JSON lines, read a line at a time.

Every row comes with its place, `file:line`, or with what is wrong there: nothing is dropped.
A BOM and CRLF line ends are taken as they come.
"""

import codecs
import csv
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from said_lightning.data.examples import Collector, Read
from said_lightning.data.task import FileSource, TaskConfig, files_folder
from said_lightning.errors import suggestion


def read_file(task: TaskConfig, files: FileSource, name: str, rows: int | None) -> Collector:
    """Read and check a split; `name` is its file, or several joined by +, `rows` its row count."""
    paths = split_paths(task, files, name)
    found = Collector(task, files, f"{paths[-1]}:1", rows)
    found.add_all(chain.from_iterable(read_rows(path, files, found) for path in paths))
    return found


def split_paths(task: TaskConfig, files: FileSource, name: str) -> list[Path]:
    """Return the paths of a split's files."""
    return [files_folder(task, files) / part for part in name.split("+")]


def read_rows(path: Path, files: FileSource, found: Collector) -> Iterator[Read]:
    """Yield a file's rows in the format that its name ends in; note a wrong header in `found`."""
    read = {".csv": _csv, ".jsonl": _jsonl}.get(path.suffix, _tsv)
    try:
        yield from read(path, files, found)
    except OSError as error:
        found.give_up(f"{path}: cannot be read: {error.strerror}")


def _lines(path: Path, encoding: str) -> Iterator[tuple[str, str, str | None]]:
    """Yield each line's place, its text without BOM and line end, and what is wrong with it."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            line = raw.removesuffix(b"\n").removesuffix(b"\r")
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            try:
                yield f"{path}:{number}", line.decode(encoding), None
            except UnicodeDecodeError as error:
                byte = f"byte {error.start + 1} is 0x{line[error.start]:02x}"
                wrong = f"expected {encoding} text, {byte}"
                yield f"{path}:{number}", line.decode(encoding, "replace"), wrong


def _tsv(path: Path, files: FileSource, found: Collector) -> Iterator[Read]:
    """Read tab-separated columns as GLUE has them: quotes mean nothing."""
    columns = files.columns
    for where, line, wrong in _lines(path, files.encoding):
        fields = line.split("\t")
        if not columns:
            if not found.has_columns(where, fields, wrong):
                return
            columns = fields
        else:
            yield where, wrong or _row(columns, fields, "tab")


def _csv(path: Path, files: FileSource, found: Collector) -> Iterator[Read]:
    """Read comma-separated columns as RFC 4180 has them; a quoted column may hold line ends."""
    places: list[str] = []
    faults: list[str] = []

    def lines() -> Iterator[str]:
        for where, line, wrong in _lines(path, files.encoding):
            places.append(where)
            faults.extend([wrong] if wrong else [])
            yield f"{line}\n"

    reader = csv.reader(lines(), strict=True)
    columns = files.columns
    while True:
        places.clear()
        faults.clear()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield places[0], f"expected comma-separated columns: {error}; is a quote left open?"
            continue
        if not columns:
            if not found.has_columns(places[0], fields, "".join(faults)):
                return
            columns = fields
        else:
            yield places[0], faults[0] if faults else _row(columns, fields, "comma")


def _row(columns: list[str], fields: list[str], separator: str) -> dict[str, str] | str:
    if len(fields) == len(columns):
        return dict(zip(columns, fields, strict=True))
    return f"expected {len(columns)} {separator}-separated columns, found {len(fields)}"


def _jsonl(path: Path, files: FileSource, found: Collector) -> Iterator[Read]:
    """Read a JSON object on each line, with the source's columns among its keys."""
    for where, line, wrong in _lines(path, files.encoding):
        yield where, wrong or _object(line, found.columns)


def _object(line: str, columns: tuple[str, ...]) -> dict[str, str] | str:
    try:
        pairs = json.loads(line, object_pairs_hook=_Pairs)
    except ValueError as error:
        return f"expected a JSON object: {error}"
    except RecursionError:
        return "expected a JSON object, found one nested without end"
    if not isinstance(pairs, _Pairs):
        return f"expected a JSON object, found {line[:40]!r}"
    names = [name for name, _ in pairs]
    for column in columns:
        if names.count(column) != 1:
            return f"expected {column!r} once{suggestion(column, names)}"
    row: dict[str, str] = {}
    for name, value in pairs:
        if name in columns:
            text = _written(value)
            if text is None:
                return f"column {name!r}: expected text or a number"
            row[name] = text
    return row


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as written, a key that is there twice included."""


def _written(value: Any) -> str | None:
    """Write a JSON value as a column of a text file would hold it; None for what it cannot."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value) if isinstance(value, int | float) else None
