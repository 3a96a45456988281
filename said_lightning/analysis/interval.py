"""d90 read from a monotone fit, with an interval that holds the variance of seeds.

The metric is taken to rise with log d, and is fitted by isotonic regression: no shape is assumed
beyond that. Only where the fit crosses a level is wanted, and that needs no whole fit: the fit is
at or above the level from the k on at which the sum of the values' distances from the level up to
k is least. numpy alone, so that it starts at once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from said_lightning.analysis.rates import DIGITS

LEVEL = 0.9  # the share of cases in which the interval is to hold the true d90
RESAMPLES = 1000
# The curve between two points of the grid is known to rise and no more. Its crossing is drawn at
# the fraction f^(2^z) of the gap, f of a straight line and z normal with this deviation: chosen on
# simulated curves (benchmarks.simulate), where straight lines alone held the truth in
# 60 to 80 % of series on grids of 6 to 10 points.
BEND = 0.75


class Fit(NamedTuple):
    """The d at which the fit crosses the level, and a 90 % interval for it.

    None is out of the range that was run. The interval is None as a whole where no two runs differ
    in their seed alone; else each end may be open.
    """

    d: float | None
    interval: tuple[float | None, float | None] | None


class Levels(NamedTuple):
    """The level to cross, `offset` + `share` of full fine-tuning's mean metric."""

    share: float
    offset: float


def fit(
    curve: Sequence[tuple[int, Sequence[float]]],
    full: Sequence[float],
    levels: Levels,
    cut: float | None = None,
) -> Fit:
    """Fit one series.

    Args:
        curve: ascending d, each with the metric of its runs, one for each seed.
        full: the metric of full fine-tuning, one for each seed.
        levels: the level to cross.
        cut: where some runs ended at the level, how far above it the least of them came: all
            values are cut to this distance from the level, above and below alike.
    """
    x = np.log([d for d, _ in curve])
    weight = np.array([len(values) for _, values in curve], dtype=float)
    level = round(levels.offset + levels.share * float(np.mean(full)), DIGITS)
    near = np.inf if cut is None else max(cut, 1e-9)
    cells = [np.clip(values, level - near, level + near) for _, values in curve]
    means = np.array([cell.mean() for cell in cells]).round(DIGITS)
    found = crossing(x, means[None], weight, np.array([level]))[0]
    middle = float(np.exp(found)) if np.isfinite(found) else None
    rests = [_rests(cell) for cell in cells if len(cell) > 1]
    if not rests:
        return Fit(middle, None)
    freedom = sum(len(rest) - 1 for rest in rests)
    noise = np.concatenate([*rests, *([_rests(np.array(full))] if len(full) > 1 else [])])
    rng = np.random.default_rng(0)  # the same runs, the same interval
    # Few seeds measure the noise poorly: as in Student's t, its size is drawn as well.
    size = np.sqrt(freedom / rng.chisquare(freedom, RESAMPLES))
    moved = np.stack([rng.choice(noise, (RESAMPLES, len(cell))).mean(1) for cell in cells], axis=1)
    shifted = levels.share * rng.choice(noise, (RESAMPLES, len(full))).mean(1) * size
    bend = np.exp2(BEND * rng.standard_normal(RESAMPLES))
    drawn = crossing(x, means + moved * size[:, None], weight, level + shifted, bend)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], method="nearest")
    ends = [float(np.exp(end)) if np.isfinite(end) else None for end in (low, high)]
    return Fit(middle, (ends[0], ends[1]))


def crossing(
    x: Float[ndarray, " points"],
    y: Float[ndarray, "draws points"],
    weight: Float[ndarray, " points"],
    level: Float[ndarray, " draws"],
    bend: Float[ndarray, " draws"] | float = 1.0,
) -> Float[ndarray, " draws"]:
    """Return the x at which each draw's isotonic fit crosses its level.

    -inf where the whole fit is at or above it, +inf where none is. Between two points the crossing
    lies at the fraction of a straight line, raised to `bend`.
    """
    sums = np.pad(np.cumsum(weight * (y - level[:, None]), axis=1), ((0, 0), (1, 0)))
    weights = np.pad(np.cumsum(weight), (1, 0))
    k = sums.argmin(1)  # of equals the first: a tie meets the level
    at, n = np.arange(len(sums)), len(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Means of the points between k and every other place; the fit beside k is their extreme.
        means = (sums[at, k][:, None] - sums) / (weights[k][:, None] - weights)
        below = np.where(np.arange(n + 1) < k[:, None], means, -np.inf).max(1)
        above = np.where(np.arange(n + 1) > k[:, None], means, np.inf).min(1)
        part = (-below / (above - below)) ** bend
    right = np.clip(k, 1, n - 1)
    inside = x[right - 1] + part * (x[right] - x[right - 1])
    return np.where(k == 0, -np.inf, np.where(k == n, np.inf, inside))


def _rests(values: Float[ndarray, " seeds"]) -> Float[ndarray, " seeds"]:
    """Return the residuals from the mean, scaled to the spread of those from the true mean."""
    return (values - values.mean()) * (len(values) / (len(values) - 1)) ** 0.5
