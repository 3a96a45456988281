"""Formats of data files, read a row at a time: separated columns, JSON, parquet; packed or not.

Every row comes with its place or with what is wrong there: nothing is dropped but blank lines at
the end. A BOM and CRLF line ends are taken as they come.
"""

from collections.abc import Sequence
from pathlib import Path

from said_lightning.data.formats import arrow, columns, objects
from said_lightning.data.formats.lines import UNPACK, Table, lines, packing
from said_lightning.data.task import FileSource
from said_lightning.errors import validate_installed

SUFFIXES = (".tsv", ".txt", ".csv", ".jsonl", ".json", ".parquet")
# How many times smaller text is when it is packed, about.
PACKED = 4
# Of what `datasets` and pandas read, what needs pyarrow.
OF_ARROW = (".parquet", ".zst", ".lz4")


def suffix(path: Path) -> str:
    """Return the end of a file's name that is its format, before that of its packing."""
    return Path(path.stem if packing(path) else path).suffix.lower()


def validate_format(path: Path) -> list[str]:
    """Return what is wrong with the end of a file's name, or lacking to read such files."""
    form = suffix(path)
    if form not in SUFFIXES or (form == ".parquet" and packing(path)):
        return [
            f"{path}: expected a file that ends in {', '.join(SUFFIXES)}, or in one of the first "
            f"five and {', '.join(UNPACK)}; a spreadsheet or a pickle can be exported as CSV"
        ]
    if path.suffix.lower() in OF_ARROW:
        return validate_installed("pyarrow", "hub", f"{path}: a file that ends in {path.suffix}")
    return []


def open_table(path: Path, files: FileSource, wanted: Sequence[str]) -> Table:
    """Open a file in the format that its name ends in; `wanted` are the columns to be read.

    Raise OSError, here or with a row, where the file cannot be read or unpacked.
    """
    form = suffix(path)
    if form == ".parquet":
        return arrow.parquet(path, wanted)
    read = lines(path, files.encoding)
    if form == ".jsonl":
        return Table(f"{path}:1", None, None, objects.on_lines(read, wanted))
    if form == ".json":
        return Table(f"{path}:1", None, None, objects.listed(read, wanted))
    return columns.table(f"{path}:1", read, files, wanted, quoted=form == ".csv")


def size(path: Path) -> int:
    """Return about how many bytes of text a file holds; packed ones hold several times their own.

    Raise OSError where it is not there.
    """
    return path.stat().st_size * (PACKED if path.suffix.lower() in (*UNPACK, ".parquet") else 1)
