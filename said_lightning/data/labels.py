"""From a label as it is written to its class id or score."""

import math
from collections.abc import Callable

import numpy as np

from said_lightning.data.task import FileSource, HubSource, TaskConfig
from said_lightning.errors import suggestion


def label_parser(task: TaskConfig, source: HubSource | FileSource) -> Callable[[str], int | float]:
    """Return the function from a label as written to its id or score; it raises ValueError.

    Classes are written as the source's label_map says; where that is empty as their names, or as
    their ids unless a name is itself a number.
    """
    if task.kind == "regression":
        return lambda text: _score(text, task.score_range)
    ids = {name: i for i, name in enumerate(task.labels)}
    if source.label_map:
        ids = {written: ids[name] for written, name in source.label_map.items()}
    elif not any(name.isdecimal() for name in ids):
        ids |= {str(i): i for i in range(len(task.labels))}

    def parse(text: str) -> int:
        if text not in ids:
            raise ValueError(f"found {text[:40]!r}{suggestion(text, ids)}")
        return ids[text]

    return parse


def _score(text: str, score_range: list[float]) -> float:
    largest = float(np.finfo(np.float32).max)
    low, high = score_range or (-largest, largest)
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not low <= score <= high:
        limits = f" from {low:g} to {high:g}" if score_range else ""
        raise ValueError(f"found {text[:40]!r}, expected a number{limits}")
    # Rounded as training will use it, so that files and hub give the same hash.
    return float(np.float32(score))
