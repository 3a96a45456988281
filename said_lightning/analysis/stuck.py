"""Runs that never left the trivial score, though others with as few numbers to train did."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

# A run is at the trivial score within this part of the way to the threshold, and others have left
# it beyond that part.
NEAR, LEFT = 0.25, 0.5
SCATTERS = 4.0  # below the others, at least, in standard deviations

Values = Mapping[int | None, Mapping[int, float]]


class Run(NamedTuple):
    """A run by its d, None for full fine-tuning, and its seed."""

    d: int | None
    seed: int


def stuck_runs(values: Values, trivial: float, threshold: float) -> list[Run]:
    """Return the runs that are stuck, by d and seed; full fine-tuning comes last.

    Args:
        values: d -> seed -> metric, full fine-tuning under None.
        trivial: the metric of a model that learnt nothing, such as the majority class's share.
        threshold: the level of d90.

    At a d where most runs, there and at any smaller d, are at the trivial score, they are the
    curve and none is stuck.
    """
    way = threshold - trivial
    if way <= 0:
        return []
    margin = SCATTERS * _scatter([list(cell.values()) for cell in values.values()])
    found: list[Run] = []
    best = -np.inf
    ascending = sorted(d for d in values if d is not None)
    for d in [*ascending, *([None] if None in values else [])]:
        cell = values[d]
        best = max(best, median(cell.values())) if cell else best
        left = best > trivial + LEFT * way
        near = [
            seed
            for seed, value in sorted(cell.items())
            if value < trivial + NEAR * way and value < best - margin
        ]
        found += [Run(d, seed) for seed in near if left]
    return found


def unstuck(values: Sequence[float], trivial: float | None, top: float) -> list[float]:
    """Return the metrics of one cell without those of runs that got stuck, unless most did.

    `top` is the best metric of comparable runs. What has gone less than a part NEAR of the way to
    it from the trivial score is stuck.
    """
    if trivial is None:
        return list(values)
    level = trivial + NEAR * (top - trivial)
    moved = [value for value in values if value > level]
    return moved if 2 * len(moved) >= len(values) else list(values)


def _scatter(cells: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation of runs around their cell's median, outliers set aside."""
    rests = [abs(v - median(cell)) for cell in cells if len(cell) > 1 for v in cell]
    return 1.4826 * median(rests) if rests else 0.0
