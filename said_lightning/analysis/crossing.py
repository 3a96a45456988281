"""Where a rising curve crosses a level: isotonic in log d, and only known to rise between points.

Only the crossing is wanted, and that needs no whole fit: the isotonic fit is at or above the level
from the k on at which the sum of the values' distances from the level up to k is least.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.random import Generator

MESH = 24  # places of a gap between two points at which a drawn curve may rise
# How a curve may run between two points. Its bend is that of a power, t^(2^z), z normal with this
# deviation; around it the rise comes in steps, those of a Dirichlet process whose concentration
# for each tenfold d is drawn from this range, evenly in its logarithm: near the lower end one jump
# makes most of the rise, wherever it lies; near the upper one the curve is smooth.
BEND = 0.75
STEPS = (2.0, 200.0)

Draws = Float[ndarray, " draws"]


def crossing(
    x: Float[ndarray, " points"],
    y: Float[ndarray, "draws points"],
    weight: Float[ndarray, " points"],
    level: Draws,
    bends: Generator | None = None,
) -> Draws:
    """Return the x at which each draw's isotonic fit crosses its level.

    -inf where the whole fit is at or above it, +inf where none is. Between two points the curve is
    a straight line, or one that `bends` draws.
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
        part = -below / (above - below)
    inside = np.flatnonzero((k > 0) & (k < n))
    found = np.where(k == 0, -np.inf, np.inf)
    left, right = x[k[inside] - 1], x[k[inside]]
    part = part[inside]
    if bends is not None:
        part = _place(bends, part, right - left)
    found[inside] = left + part * (right - left)
    return found


def _place(rng: Generator, part: Draws, gap: Draws) -> Draws:
    """Return where in gaps of such lengths, in log d, drawn curves reach these parts of them."""
    draws, low, high = len(part), *np.log(STEPS)
    power = np.exp2(BEND * rng.standard_normal((draws, 1)))
    base = np.diff((np.arange(MESH + 1) / MESH) ** power, axis=1)
    concentration = np.exp(rng.uniform(low, high, draws)) * gap / np.log(10)
    rises = rng.standard_gamma(np.maximum(concentration[:, None] * base, 1e-4)).cumsum(1)
    aim = part * rises[:, -1]
    at, step = np.arange(draws), np.minimum((rises < aim[:, None]).sum(1), MESH - 1)
    before = np.where(step > 0, rises[at, step - 1], 0.0)
    rest = rises[at, step] - before
    within = np.where(rest > 0, (aim - before) / np.where(rest > 0, rest, 1.0), 1.0)
    return (step + np.clip(within, 0.0, 1.0)) / MESH
