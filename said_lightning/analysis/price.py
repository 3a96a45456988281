"""The runs that an interval's width costs, from the scatter seen: said before they are made."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from said_lightning.analysis.crossing import crossing
from said_lightning.analysis.d90 import LEVEL, Estimate
from said_lightning.analysis.noise import normal, root
from said_lightning.analysis.spread import Spread

WIDTH = 1.5  # whose price is said where none is asked for, and the interval is wider
POINTS = 5  # of a stage that is priced, evenly over the interval
MOST_SEEDS = 60
DRAWS = 4000


class Price(NamedTuple):
    """The runs to add for a width, None where no number of seeds reaches it; `sentence` says it."""

    runs: int | None
    seeds: int | None
    sentence: str


def price(estimate: Estimate, width: float) -> Price:
    """Return what an interval of this width (high / low) costs beyond the runs made.

    The stage that is priced has POINTS d, evenly over the interval, and full fine-tuning, each
    with as many new seeds.
    """
    spread = estimate.spread
    if spread is None:
        return Price(None, None, "no two runs differ in their seed alone, so no width is priced")
    if (seeds := seeds_for(spread, width)) is not None:
        runs = seeds * (POINTS + 1)
        said = f"about {runs} more runs" if runs else "no more runs"
        return Price(runs, seeds, f"x{width:g} at the scatter seen wants {said}")
    least = expected_width(spread._replace(run=0.0, shared=np.zeros((2, 2))), 1)
    cause = f"; the report rows alone leave x{least:.2g}" if least > width else ""
    return Price(None, None, f"x{width:g} is out of reach at the scatter seen{cause}")


def seeds_for(spread: Spread, width: float) -> int | None:
    """Return the new seeds with which a width is to be expected; None where none are enough."""
    if expected_width(spread, 0) <= width:
        return 0
    if expected_width(spread, MOST_SEEDS) > width:
        return None
    few, enough = 0, MOST_SEEDS
    while enough - few > 1 + few // 8:
        middle = (few + enough) // 2
        if expected_width(spread, middle) <= width:
            enough = middle
        else:
            few = middle
    return enough


def expected_width(spread: Spread, seeds: int) -> float:
    """Return the width to expect once a stage with this many new seeds is added."""
    rng = np.random.default_rng(0)
    new = np.linspace(*spread.span, POINTS) if seeds else np.zeros(0)
    x = np.concatenate([spread.x, new])
    runs = np.concatenate([spread.seeds, np.full(len(new), float(seeds))])
    block = np.repeat([0, 1], [len(spread.x), len(new)])
    order = np.argsort(x, kind="stable")
    x, runs, block = x[order], runs[order], block[order]
    freedom = spread.freedom + seeds
    shift = normal(rng, DRAWS, root(_shared(spread, seeds)))
    shift *= np.sqrt(freedom / rng.chisquare(freedom, (DRAWS, 1)))
    y = spread.slope * x + shift[:, block] + spread.rows * rng.standard_normal((DRAWS, 1))
    y += spread.run * rng.standard_normal((DRAWS, len(x))) / np.sqrt(runs)
    drawn = crossing(x, y, runs, shift[:, 2], rng)
    tail = (1 - LEVEL) / 2
    low, high = np.clip(np.quantile(drawn, [tail, 1 - tail], method="nearest"), x[0], x[-1])
    return float(np.exp(high - low))


def _shared(spread: Spread, seeds: int) -> Float[ndarray, "3 3"]:
    """Return the covariance of the shifts of the old points, the new ones and the threshold."""
    old = float(spread.seeds.max())
    (curve, both), (_, full) = spread.shared
    each, total = curve / np.array([old, max(seeds, 1)]), old + seeds
    first, second = both / total, both / total if seeds else 0.0
    return np.array([[each[0], 0.0, first], [0.0, each[1], second], [first, second, full / total]])
