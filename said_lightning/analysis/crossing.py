"""Where a rising curve crosses a level: isotonic in log d, and only known to rise between points.

Only the crossing is wanted, and that needs no whole fit: the isotonic fit is at or above the level
from the k on at which the sum of the values' distances from the level up to k is least.
"""

from collections.abc import Callable
from functools import cache

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
# How finely that is drawn: sizes of gaps to a factor of e, nodes of the log odds of a part of the
# rise, pieces of a gap within which the curve is straight, concentrations, and quantiles.
SIZES, ODDS = 10, np.linspace(-10, 10, 193)
PIECES, MIXED, QUANTILES = 64, 16, 256

# So that another seed moves no end of an interval by more than 3 %: each end's standard error, and
# the draws from which it is judged and at which it is left as it is.
SETTLED = 0.006
FIRST, MOST = 8_000, 240_000
ASIDE = 2  # standard errors to either side of an end at which its neighbours show them
SPARE = 1.3  # times the draws that an error asks for, since it is itself seen with an error

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
    # Few places and many draws: sums go place by place, and extremes by where the fit crosses.
    sums = np.zeros((n + 1, len(y)))
    for place in range(n):
        sums[place + 1] = sums[place] + weight[place] * (y[:, place] - level)
    weights = np.pad(np.cumsum(weight), (1, 0))[:, None]
    first = sums.argmin(0)  # of equals the first: a tie meets the level
    found = np.where(first == 0, -np.inf, np.inf)
    for k in range(1, n):
        mine = np.flatnonzero(first == k)
        if not len(mine):
            continue
        rest = sums[:, mine] - sums[k, mine]
        # Means of the points between k and every other place; the fit beside k is their extreme.
        below = (rest[:k] / (weights[:k] - weights[k])).max(0)
        above = (rest[k + 1 :] / (weights[k + 1 :] - weights[k])).min(0)
        part, gap = -below / (above - below), float(x[k] - x[k - 1])
        if bends is not None:
            part = _place(bends, part, gap)
        found[mine] = x[k - 1] + part * gap
    return found


def _place(rng: Generator, part: Draws, gap: float) -> Draws:
    """Return where in a gap of such a length, in log d, drawn curves reach these parts of it."""
    with np.errstate(divide="ignore"):
        odds = np.clip(np.log(part / (1 - part)), ODDS[0], ODDS[-1])
    node = (odds - ODDS[0]) / (ODDS[1] - ODDS[0])
    low = np.minimum(node.astype(int), len(ODDS) - 2)
    # Two points may lie at one d, where a further stage has a d that is there.
    table = _stepped(round(SIZES * float(np.log(max(gap, 1e-3)))))
    quantile = rng.integers(QUANTILES, size=len(part))
    start, end = table[low, quantile], table[low + 1, quantile]
    at = start + (node - low) * (end - start)
    return at ** np.exp2(BEND * rng.standard_normal(len(part)))


@cache
def _stepped(size: int) -> Float[ndarray, "odds quantiles"]:
    """Return where in a gap curves that rise in steps reach each part of it, at even quantiles.

    `size` is SIZES times the logarithm of the gap. Up to a share t of it, a curve of concentration
    c has made a part of its rise that is Beta(c t, c (1 - t)), here summed over log odds, in which
    the density falls off exponentially to either side.
    """
    shares = np.linspace(0, 1, PIECES + 1)
    low, high = np.log(STEPS)
    mixed = np.linspace(low, high, 2 * MIXED + 1)[1::2]
    many = np.exp(mixed + size / SIZES)[:, None, None] / np.log(10)
    one, other = many * shares[1:-1, None], many * (1 - shares[1:-1, None])
    density = np.exp(-one * np.log1p(np.exp(-ODDS)) - other * np.log1p(np.exp(ODDS)))
    sums = np.cumsum(density, axis=2) - density / 2
    sums *= ODDS[1] - ODDS[0]
    sums += density[..., :1] / one
    reached = 1 - (sums / (sums[..., -1:] + density[..., -1:] / other)).mean(0)
    ends = np.zeros((1, len(ODDS)))
    rising = np.concatenate([ends, reached, ends + 1])
    even = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return np.stack([np.interp(even, column, shares) for column in rising.T])


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
    wanted = min(SPARE * number * (error / SETTLED) ** 2, 2 * number)
    return min(max(int(wanted - number), number // 8), MOST - number)
