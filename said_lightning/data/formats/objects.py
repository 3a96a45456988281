"""Rows of JSON: an object on each line, or a list of objects."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from said_lightning.data.formats.lines import Line, Read, Row

SPACE = re.compile(r"[ \t\n\r]*")
NESTED = "found one nested without end"


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as written, a key that is there twice included."""


DECODER = json.JSONDecoder(object_pairs_hook=_Pairs)


def on_lines(
    lines: Iterator[Line], columns: Sequence[str], expected: str = "a JSON object"
) -> Iterator[Read]:
    """Yield the object of each line."""
    for where, line, wrong in lines:
        try:
            yield where, wrong or _row(DECODER.decode(line), columns)
        except ValueError as error:
            yield where, f"expected {expected}: {error}"
        except RecursionError:
            yield where, f"expected {expected}, {NESTED}"


def listed(lines: Iterator[Line], columns: Sequence[str]) -> Iterator[Read]:
    """Yield the objects of a list, or of the lines of a file that is no list.

    A list is in memory while it is read, and not read beyond a mistake.
    """
    start: list[Line] = []
    for line in lines:
        start.append(line)
        if line.text.strip():
            break
    if not start or not start[-1].text.lstrip().startswith("["):
        yield from on_lines(chain(start, lines), columns, "a list of JSON objects, or one a line")
        return
    read = [*start, *lines]
    if faults := [(where, wrong) for where, _, wrong in read if wrong]:
        yield from faults
        return
    number = 1
    try:
        for number, value in _elements("\n".join(line.text for line in read)):
            yield read[number - 1].where, _row(value, columns)
    except json.JSONDecodeError as error:
        where = read[min(error.lineno, len(read)) - 1].where
        yield where, f"expected a list of JSON objects: {error.msg}"
    except (ValueError, RecursionError) as error:
        wrong = str(error) if isinstance(error, ValueError) else NESTED
        yield read[number - 1].where, f"expected a list of JSON objects: {wrong}"


def _elements(text: str) -> Iterator[tuple[int, Any]]:
    """Yield the line and the value of each element of a list; raise ValueError."""
    at, number, counted = _space(text, text.index("[") + 1), 1, 0
    while text[at : at + 1] != "]":
        number, counted = number + text.count("\n", counted, at), at
        value, at = DECODER.raw_decode(text, at)
        yield number, value
        at = _space(text, at)
        if text[at : at + 1] == ",":
            at = _space(text, at + 1)
        elif text[at : at + 1] != "]":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    if (at := _space(text, at + 1)) < len(text):
        raise json.JSONDecodeError("Extra data", text, at)


def _space(text: str, at: int) -> int:
    """Return where the space that begins at a place ends."""
    found = SPACE.match(text, at)
    assert found is not None
    return found.end()


def _row(value: Any, columns: Sequence[str]) -> Row | str:
    """Return an object's cells, or what is wrong with it."""
    if not isinstance(value, _Pairs):
        return f"expected a JSON object, found {json.dumps(value)[:40]!r}"
    names = [name for name, _ in value]
    for column in columns:
        if names.count(column) > 1:
            return f"expected {column!r} once, found it {names.count(column)} times"
    return {name: _written(one) for name, one in value}


def _written(value: Any) -> str | None:
    """Write a JSON value as a cell of a text file would hold it; None for what it cannot."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, float) and math.isnan(value):
        return ""
    return json.dumps(value) if isinstance(value, int | float) else None
