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
# deviation; around it the rise comes in steps, those of a Dirichlet process whose concentration is
# drawn from this range, evenly in its logarithm: near the lower end one jump makes most of the
# rise, wherever it lies; near the upper one the curve is smooth.
BEND = 0.75
STEPS = (0.5, 100.0)

Draws = Float[ndarray, " draws"]


def crossing(
    x: Float[ndarray, " points"],
    y: Float[ndarray, "draws points"],
    weight: Float[ndarray, " points"],
    level: Draws,
    rises: Float[ndarray, "draws mesh"] | None = None,
) -> Draws:
    """Return the x at which each draw's isotonic fit crosses its level.

    -inf where the whole fit is at or above it, +inf where none is. Between two points the curve is
    a straight line, or rises as `rises` (see `rise`) has it.
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
    inside = (k > 0) & (k < n)
    part = np.where(inside, part, 1.0)
    if rises is not None:
        part = _place(rises, part)
    right = np.clip(k, 1, n - 1)
    found = x[right - 1] + part * (x[right] - x[right - 1]) if n > 1 else np.zeros(len(k))
    return np.where(k == 0, -np.inf, np.where(k == n, np.inf, found))


def rise(rng: Generator, draws: int) -> Float[ndarray, "draws mesh"]:
    """Draw how curves rise from 0 to 1 over a gap, at the ends of its MESH equal parts."""
    power = np.exp2(BEND * rng.standard_normal((draws, 1)))
    low, high = np.log(STEPS)
    concentration = np.exp(rng.uniform(low, high, (draws, 1)))
    base = np.diff((np.arange(MESH + 1) / MESH) ** power, axis=1)
    steps = rng.standard_gamma(np.maximum(concentration * base, 1e-6))
    total = steps.cumsum(1)
    return total / total[:, -1:]


def _place(rises: Float[ndarray, "draws mesh"], part: Draws) -> Draws:
    """Return where in the gap each drawn curve reaches the part of its rise."""
    at = np.arange(len(part))
    step = np.minimum((rises < part[:, None]).sum(1), rises.shape[1] - 1)
    before = np.where(step > 0, rises[at, step - 1], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        within = (part - before) / (rises[at, step] - before)
    return (step + np.clip(np.nan_to_num(within, nan=1.0), 0.0, 1.0)) / rises.shape[1]
