"""Where a rising curve crosses a level: isotonic in log d, and only known to rise between points.

Only the crossing is wanted, and that needs no whole fit: the isotonic fit is at or above the level
from the k on at which the sum of the values' distances from the level up to k is least.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.random import Generator

# How a curve may run between two points. Its bend is that of a power, t^(2^z), z normal with this
# deviation; around it the rise comes in steps, those of a Dirichlet process whose concentration
# for each tenfold d is drawn from this range, evenly in its logarithm: near the lower end one jump
# makes most of the rise, wherever it lies; near the upper one the curve is smooth.
BEND = 0.75
STEPS = (2.0, 200.0)
HALVINGS = 6  # of a gap; within the last piece the curve is straight

# So that another seed moves no end of an interval by more than 3 %: each end's standard error, and
# the draws from which it is judged and at which it is left as it is.
SETTLED = 0.006
FIRST, MOST = 5_000, 240_000
ASIDE = 2  # standard errors to either side of an end at which its neighbours show them

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
    n = len(x)
    # Places lie along the first axis, where sums and extremes over a few of them are fast.
    sums = np.zeros((n + 1, len(y)))
    np.cumsum((y - level[:, None]).T * weight[:, None], axis=0, out=sums[1:])
    weights = np.pad(np.cumsum(weight), (1, 0))[:, None]
    first = sums.argmin(0)  # of equals the first: a tie meets the level
    found = np.where(first == 0, -np.inf, np.inf)
    inside = np.flatnonzero((first > 0) & (first < n))
    k, sums = first[inside], sums[:, inside]
    place = np.arange(n + 1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        # Means of the points between k and every other place; the fit beside k is their extreme.
        means = (sums[k, np.arange(len(k))] - sums) / (weights[k, 0] - weights)
    below = np.where(place < k, means, -np.inf).max(0)
    above = np.where(place > k, means, np.inf).min(0)
    part = -below / (above - below)
    left, right = x[k - 1], x[k]
    if bends is not None:
        part = _place(bends, part, right - left)
    found[inside] = left + part * (right - left)
    return found


def _place(rng: Generator, part: Draws, gap: Draws) -> Draws:
    """Return where in gaps of such lengths, in log d, drawn curves reach these parts of them."""
    low, high = np.log(STEPS)
    # Two points may lie at one d, where a further stage has a d that is there.
    half = np.exp(rng.uniform(low, high, len(part))) * np.maximum(gap, 1e-6) / np.log(10) / 2
    at, rest = np.zeros(len(part)), part
    for halving in range(1, HALVINGS + 1):
        first = np.clip(rng.beta(half, half), 1e-12, 1 - 1e-12)
        right = rest > first
        rest = np.where(right, (rest - first) / (1 - first), rest / first)
        at += np.where(right, 0.5**halving, 0.0)
        half = half / 2
    return (at + rest * 0.5**HALVINGS) ** np.exp2(BEND * rng.standard_normal(len(part)))


def settled(
    make: Callable[[int], Float[ndarray, "2 draws"]], level: float, draws: int | None
) -> tuple[float, float, Float[ndarray, "2 draws"]]:
    """Return the ends of an interval, and the draws of its lower and its upper end they are from.

    There are as many `draws` as asked for, or as it takes for the ends to stay where they are.
    """
    tail = (1 - level) / 2
    drawn = make(draws or FIRST)
    while draws is None and (lacking := _lacking(drawn, tail)):
        drawn = np.concatenate([drawn, make(lacking)], axis=1)
    low = np.quantile(drawn[0], tail, method="nearest")
    high = np.quantile(drawn[1], 1 - tail, method="nearest")
    return float(low), float(high), drawn


def _lacking(drawn: Float[ndarray, "2 draws"], tail: float) -> int:
    """Return how many more draws it takes for the ends to stay, as far as their neighbours show."""
    number = drawn.shape[1]
    aside = ASIDE * (tail * (1 - tail) / number) ** 0.5
    around = np.clip([tail - aside, tail + aside], 0.0, 1.0)
    ends = [
        np.quantile(drawn[0], around, method="nearest"),
        np.quantile(drawn[1], 1 - around[::-1], method="nearest"),
    ]
    # Beside an end that is open, nothing is known of the error but that it is there.
    error = max(0.0 if one == other else (other - one) / (2 * ASIDE) for one, other in ends)
    if error <= SETTLED:
        return 0
    wanted = min(number * (error / SETTLED) ** 2, 2 * number)
    return min(max(int(wanted - number), number // 8), MOST - number)
