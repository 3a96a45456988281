"""The stage `rates`: the learning rate and the length of training, the same way for every series.

Rates are compared on select rows, with seeds that no other stage uses. The list grows until the
best lies inside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from said_lightning.analysis.rates import is_near, rank
from said_lightning.analysis.stuck import unstuck
from said_lightning.search.jobs import SEEDS, Job, Runs, Steps

FACTOR = 3.0  # between two rates of the list
RATES = (1 / FACTOR, 1.0, FACTOR)
FEW = 2  # seeds of each rate; the best two have more
GROWTH = 3  # rates that the list may grow by on one side


@dataclass(frozen=True)
class Tuned:
    """The rate and the length of training that are best at d, with the metric of their runs.

    edge: the best rate is the smallest or largest that was tried, though the list grew. rising: the
    metric still rose with the longest length. regret: how far the metric at this rate may be below
    that at the best one, since few seeds compared them.
    """

    d: int | None
    rate: float
    length: float
    values: tuple[float, ...]
    edge: bool = False
    rising: bool = False
    regret: float = 0.0

    @property
    def mean(self) -> float:
        """The metric on select rows, mean over seeds; runs that got stuck do not count."""
        return float(np.mean(self.values))


def tune(
    runs: Runs, d: int | None, rates: Sequence[float], lengths: Sequence[float], many: int
) -> Steps[Tuned | None]:
    """Choose rate and length for one d, None for full fine-tuning.

    Each length has its own best rate, and the best two rates have `many` seeds each. Of the
    lengths, the shortest is chosen that is within one standard error of the best.

    Returns:
        What was chosen, None where every run failed.
    """
    tuned: list[Tuned] = []
    for length in sorted(lengths):
        found = yield from tune_rate(runs, d, rates, length, many)
        if found is not None:
            tuned.append(found)
            if len(rates) > 1:
                rates = tuple(found.rate * FACTOR**step for step in (-1, 0, 1))
    if not tuned:
        return None
    best = max(tuned, key=lambda one: one.mean)
    chosen = next(one for one in tuned if is_near(one.values, best.values))
    rising = len(lengths) > 1 and chosen.length == max(lengths)
    return replace(chosen, rising=rising)


def tune_rate(
    runs: Runs, d: int | None, rates: Sequence[float], length: float, many: int
) -> Steps[Tuned | None]:
    """Choose the rate for one d and length; None where every run failed.

    The best two have `many` seeds before one of them is chosen, the others FEW. Of equals, that
    nearest to the caller's own is.
    """
    seeds = dict.fromkeys(sorted(rates), FEW)
    growth = [GROWTH, GROWTH] if len(seeds) > 1 else [0, 0]
    while True:
        jobs = {rate: _jobs(d, rate, length, count) for rate, count in seeds.items()}
        yield from runs.make(job for one in jobs.values() for job in one)
        top = max(runs.metrics(job for one in jobs.values() for job in one), default=None)
        if top is None:
            return None
        values = {
            rate: unstuck(metrics, runs.trivial, top)
            for rate, one in jobs.items()
            if (metrics := runs.metrics(one))
        }
        ranked = sorted(values, key=lambda one: (-np.mean(values[one]), abs(np.log(one))))
        if few := [one for one in ranked[:2] if seeds[one] < many and len(seeds) > 1]:
            seeds |= dict.fromkeys(few, many)
            continue
        best, ends = ranked[0], (min(seeds), max(seeds))
        edge = len(seeds) > 1 and best in ends
        side = ends.index(best) if edge else 0
        if not edge or growth[side] == 0:
            regret = rank(values, own=1.0).regret
            return Tuned(d, best, length, tuple(values[best]), edge, regret=regret)
        growth[side] -= 1
        seeds[best * FACTOR ** (2 * side - 1)] = FEW


def _jobs(d: int | None, rate: float, length: float, count: int) -> list[Job]:
    return [Job("rates", d, rate, SEEDS["rates"] + seed, length) for seed in range(count)]
