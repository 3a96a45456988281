"""Lines of text files, packed or not, in any encoding, each with its place and its fault."""

import bz2
import codecs
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from said_lightning.errors import needs

# How files begin that are not what their names say.
SIGNS = {
    b"\x1f\x8b": "gzip, whose name ends in .gz",
    b"PK\x03\x04": "a zip file or a spreadsheet; export it as CSV",
    b"PAR1": "parquet, whose name ends in .parquet",
    codecs.BOM_UTF16_LE: "UTF-16; task.files.encoding=utf-16 reads it",
    codecs.BOM_UTF16_BE: "UTF-16; task.files.encoding=utf-16 reads it",
}
OTHER = "; task.files.encoding=cp1252 or utf-16-le, say, reads others"
# Stands for bytes that are no text in encodings of several bytes; no text holds it.
UNDECODED = "\udcff"
codecs.register_error("said.undecoded", lambda error: (UNDECODED, error.end))  # type: ignore[attr-defined]


# A cell is None where it is no text and no number.
Row = Mapping[str, str | None]
# A place, as `file:line`, and the row there by column, or else what is wrong with it.
Read = tuple[str, Row | str]


@dataclass
class Table:
    """A file's rows below a header, whose columns are None where each row has its own.

    `where` is the header's place, `wrong` what is wrong with it; `hint` ends the message about a
    column that is not in it.
    """

    where: str
    columns: list[str] | None
    wrong: str | None
    rows: Iterator[Read]
    hint: str = ""


class Line(NamedTuple):
    """A line's place, `file:line`, its text without BOM and line end, and what is wrong with it."""

    where: str
    text: str
    wrong: str | None


def _open(path: Path) -> Any:
    return path.open("rb", buffering=0)


def _member(path: Path) -> Any:
    """Open the one file in a zip file."""
    packed = zipfile.ZipFile(path)
    inside = [
        one for one in packed.infolist() if not one.is_dir() and "__MACOSX" not in one.filename
    ]
    if len(inside) != 1:
        raise OSError(f"it holds {len(inside)} files, expected one; unzip it")
    if inside[0].flag_bits & 1:
        raise OSError("it is encrypted; unzip it")
    return packed.open(inside[0])


def _arrow(path: Path, codec: str) -> Any:
    arrow = needs("pyarrow", "hub", f"{path}: a file that ends in {path.suffix}")
    return arrow.input_stream(str(path), compression=codec)


UNPACK: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zip": _member,
    ".zst": partial(_arrow, codec="zstd"),
    ".lz4": partial(_arrow, codec="lz4"),
}
# What the unpackers raise for files that are torn, or packed otherwise.
TORN = (
    *(EOFError, LookupError, OverflowError, RuntimeError, ValueError),
    *(lzma.LZMAError, struct.error, zipfile.BadZipFile, zlib.error),
)


def packing(path: Path) -> str:
    """Return the end of a file's name that says how it is packed; nothing where it is not."""
    return path.suffix.lower() if path.suffix.lower() in UNPACK else ""


def superset_of_ascii(encoding: str) -> bool:
    """Return whether lines in an encoding end as in ASCII; raise LookupError or ValueError."""
    return "\n\t".encode(encoding) == b"\n\t"


def lines(path: Path, encoding: str) -> Iterator[Line]:
    """Yield each line of a file; blank ones at the end are left out, for no row is blank.

    Raise OSError where the file cannot be read or unpacked.
    """
    blank = []
    try:
        with io.BufferedReader(UNPACK.get(packing(path), _open)(path)) as file:
            read = _narrow if superset_of_ascii(encoding) else _wide
            for number, (text, wrong) in enumerate(read(file, encoding), 1):
                line = Line(f"{path}:{number}", text, wrong)
                if not text.strip(" ") and wrong is None:
                    blank.append(line)
                    continue
                yield from blank
                yield line
                blank.clear()
    except TORN as error:
        raise OSError(f"it is no whole {packing(path)} file: {error}") from error


def _narrow(file: Any, encoding: str) -> Iterator[tuple[str, str | None]]:
    """Yield the lines of a file in an encoding whose line end is the byte of ASCII's."""
    for number, raw in enumerate(file):
        line = raw.removesuffix(b"\n").removesuffix(b"\r")
        if number == 0:
            line = line.removeprefix(codecs.BOM_UTF8)
            if sign := next((sign for sign in SIGNS if line.startswith(sign)), None):
                yield "", f"expected {encoding} text, found {SIGNS[sign]}"
                return
        try:
            yield line.decode(encoding), None
        except UnicodeDecodeError as error:
            byte = f"byte {error.start + 1} is 0x{line[error.start]:02x}"
            yield line.decode(encoding, "replace"), f"expected {encoding} text, {byte}{OTHER}"


def _wide(file: Any, encoding: str) -> Iterator[tuple[str, str | None]]:
    """Yield the lines of a file in any other encoding, such as UTF-16."""
    try:
        for number, raw in enumerate(io.TextIOWrapper(file, encoding, "said.undecoded", "\n")):
            line = raw.removesuffix("\n").removesuffix("\r")
            line = line if number else line.removeprefix("\ufeff")
            wrong = f"expected {encoding} text{OTHER}" if UNDECODED in line else None
            yield line, wrong
    except UnicodeError as error:
        yield "", f"expected {encoding} text: {error}{OTHER}"
