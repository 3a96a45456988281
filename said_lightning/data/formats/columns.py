"""Rows of separated columns: CSV with its quotes, and tab-separated text in which they are text."""

import csv
from collections.abc import Callable, Iterator, Sequence

from said_lightning.data.formats.lines import Line, Table
from said_lightning.data.task import FileSource

SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
# A row's place, its fields, and what is wrong with it.
Record = tuple[str, list[str], str | None]


def table(
    where: str, lines: Iterator[Line], files: FileSource, wanted: Sequence[str], quoted: bool
) -> Table:
    """Return the rows of separated columns below their header, or below the columns of the task."""
    # A shell hands a tab on as two characters.
    separator = "\t" if files.separator == r"\t" else files.separator or ("," if quoted else "\t")
    records = (_quoted if quoted else _plain)(lines, separator)
    columns, wrong, hint = list(files.columns), None, ""
    if not columns:
        where, columns, wrong = next(records, (where, [], None))
        if not columns and not wrong:
            return Table(where, None, None, iter(()))
        if not set(wanted) <= set(columns):
            hint = _parted(separator, columns, lambda fields: set(wanted) <= set(fields))
    rows = ((where, fault or _row(columns, row, separator)) for where, row, fault in records)
    return Table(where, columns, wrong, rows, hint)


def _plain(lines: Iterator[Line], separator: str) -> Iterator[Record]:
    """Read columns as GLUE has them: quotes mean nothing."""
    for where, line, wrong in lines:
        yield where, line.split(separator), wrong


def _quoted(lines: Iterator[Line], separator: str) -> Iterator[Record]:
    """Read columns as RFC 4180 has them: a quoted one may hold line ends, and any length."""
    places: list[str] = []
    faults: list[str] = []

    def texts() -> Iterator[str]:
        for where, line, wrong in lines:
            places.append(where)
            faults.extend([wrong] if wrong else [])
            yield f"{line}\n"

    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(texts(), delimiter=separator, strict=True)
    while True:
        places.clear()
        faults.clear()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            expected = f"expected {_name(separator)}-separated columns: {error}"
            yield places[0], [], f"{expected}; is a quote left open, or not doubled inside?"
            continue
        yield places[0], fields, faults[0] if faults else None


def _row(names: Sequence[str], fields: list[str], separator: str) -> dict[str, str] | str:
    """Return the fields by their columns, or what is wrong with their number."""
    if len(fields) == len(names):
        return dict(zip(names, fields, strict=True))
    expected = f"expected {len(names)} {_name(separator)}-separated columns, found {len(fields)}"
    if any(field.startswith('"') for field in fields) and separator == "\t":
        return f"{expected}; quotes count where a file's name ends in .csv, with separator: \\t"
    return expected + _parted(separator, fields, lambda parted: len(parted) == len(names))


def _parted(separator: str, fields: list[str], good: Callable[[list[str]], bool]) -> str:
    """Return the end of a message where another separator parts a line as it should be."""
    line = separator.join(fields)
    for other in SEPARATORS:
        if other != separator and good(line.split(other)):
            written = other.replace("\t", r"\t")
            return f"""; 'task.files.separator="{written}"' parts it"""
    return ""


def _name(separator: str) -> str:
    """Return what a message calls a separator."""
    return SEPARATORS.get(separator, repr(separator))
