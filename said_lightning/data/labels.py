"""From a label as it is written to its class id or score.

A label is taken as it is written, or else by its meaning: 1.0 and 1 are the same number, true and
yes the same truth, whatever wrote the file.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache

import numpy as np

from said_lightning.data.task import FileSource, HubSource, TaskConfig
from said_lightning.errors import suggestion

# yaml 1.1's words for booleans, which programs that write data use too.
TRUTHS = {
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
}
Meaning = bool | Decimal


def label_parser(task: TaskConfig, source: HubSource | FileSource) -> Callable[[str], int | float]:
    """Return the function from a label as written to its id or score; it raises ValueError.

    Of a text to be written it is 1, right. Classes are written as the source's label_map says;
    where that is empty as their names, or as their ids unless a name is itself a number or the
    truth of another id. Spaces around a label do not count; true and false are the ids 1 and 0 of
    two classes whose names are no truths.
    """
    if task.kind == "generate":
        return lambda text: 1
    if task.kind == "regression":
        return lambda text: _score(text, task.score_range)
    ids = _written(task.labels, source.label_map)
    by_meaning = _by_meaning(ids)

    @cache
    def parse(text: str) -> int:
        found = ids.get(text, ids.get(text.strip()))
        if found is None:
            meaning = meaning_of(text.strip())
            found = None if meaning is None else by_meaning.get((type(meaning), meaning))
        if found is None:
            raise ValueError(f"found {text[:40]!r}{suggestion(text, ids)}{_remedy(text, ids)}")
        return found

    return parse


def meaning_of(text: str) -> Meaning | None:
    """Return the truth or the number that a text stands for; None for any other text."""
    if text.casefold() in TRUTHS:
        return TRUTHS[text.casefold()]
    try:
        number = Decimal(text) if text.isascii() and "_" not in text else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None


def unquoted(names: Iterable[str]) -> str:
    """Return the end of a message about names that yaml may have made: 'True' out of yes."""
    if {"True", "False"}.isdisjoint(names):
        return ""
    return "; yaml reads no and off as False, yes and on as True, unless they are in quotes: 'no'"


def _written(labels: list[str], label_map: Mapping[str, str]) -> dict[str, int]:
    """Return the ids by the forms in which they may be written."""
    ids = {name: i for i, name in enumerate(labels)}
    if label_map:
        return {written: ids[name] for written, name in label_map.items()}
    meanings = [meaning_of(name) for name in labels]
    if meanings == [True, False] or any(isinstance(one, Decimal) for one in meanings):
        return ids
    return ids | {str(i): i for i in range(len(labels))}


def _by_meaning(ids: Mapping[str, int]) -> dict[tuple[type, Meaning], int]:
    """Return the ids by what the forms mean, where all forms of a meaning have one id."""
    found: dict[tuple[type, Meaning], set[int]] = {}
    for form, one in ids.items():
        meaning = meaning_of(form)
        if meaning is not None:
            found.setdefault((type(meaning), meaning), set()).add(one)
    truths = {kind for kind, _ in found} == {Decimal} and {one for _, one in found} == {0, 1}
    if truths and len(set(ids.values())) == 2:
        found |= {(bool, bool(one)): ids for (_, one), ids in found.items()}
    return {meaning: next(iter(ids)) for meaning, ids in found.items() if len(ids) == 1}


def _remedy(text: str, ids: Mapping[str, int]) -> str:
    if note := unquoted(ids):
        return note
    meaning = meaning_of(text.strip())
    known = isinstance(meaning, bool) or (meaning is not None and "0" not in ids)
    return f"; label_map={{{text.strip()[:40]!r}: LABEL}} says which it is" if known else ""


def _score(text: str, score_range: list[float]) -> float:
    largest = float(np.finfo(np.float32).max)
    low, high = score_range or (-largest, largest)
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not low <= score <= high:
        limits = f" from {low:g} to {high:g}" if score_range else ""
        comma = " with a decimal point" if text.count(",") == 1 and "." not in text else ""
        raise ValueError(f"found {text[:40]!r}, expected a number{limits}{comma}")
    # Rounded as training will use it, so that files and hub give the same hash.
    return float(np.float32(score))
