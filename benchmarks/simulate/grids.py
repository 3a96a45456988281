"""A grid of d over a simulated series, run as the protocol has it: rates, then fresh seeds."""

import math
from collections.abc import Mapping
from statistics import fmean
from typing import NamedTuple

import numpy as np

from benchmarks.simulate.series import FACTOR, SHARE, Rows, Simulated

TUNING_SEEDS = tuple(range(1001, 1007))  # used nowhere else
FEW, MANY = 2, 6  # of each rate, and of the best two
RATES = (-1, 0, 1)  # exponents of FACTOR to begin with; the list grows until its best is inside
MOST = 3  # the list's ends
LEAST = 10  # of the d of a grid


class Design(NamedTuple):
    """A grid: its number of d, the factor between two of them, and its seeds."""

    points: int
    step: float
    seeds: int


class Study(NamedTuple):
    """What a grid's runs gave, by d and seed, and what full fine-tuning's gave."""

    points: Mapping[int, Mapping[int, Rows]]
    full: Mapping[int, Rows]
    rate: float
    full_rate: float


def grid(series: Simulated, design: Design) -> list[int]:
    """Return the grid's d; d90 lies anywhere within the middle 80 % of its range."""
    rng = np.random.default_rng([series.key, 9])
    span = (design.points - 1) * math.log10(design.step)
    first = series.x90 - span * rng.uniform(0.1, 0.9)
    first = max(first, math.log10(LEAST))
    every = first + np.arange(design.points) * math.log10(design.step)
    return sorted({round(float(10**x)) for x in every})


def study(series: Simulated, design: Design, many: int = MANY) -> Study:
    """Choose the rates, the best two compared by `many` seeds, and make the runs."""
    ds = grid(series, design)
    top, reached = best_rate(series, None, many)
    level = SHARE * reached
    at_rule = [float(series.run(d, 1.0, TUNING_SEEDS[0], "rates").mean()) for d in ds]
    near = min(range(len(ds)), key=lambda i: abs(at_rule[i] - level))
    rate, _ = best_rate(series, ds[near], many)
    seeds = range(design.seeds)
    return Study(
        {d: {seed: series.run(d, rate, seed, "confirm") for seed in seeds} for d in ds},
        {seed: series.run(None, top, seed, "confirm") for seed in seeds},
        rate,
        top,
    )


def best_rate(series: Simulated, d: int | None, many: int = MANY) -> tuple[float, float]:
    """Return the rate with the best mean on the select rows, and that mean.

    Of each rate there are a few seeds, of the best two more; the list grows until the best of it is
    inside.
    """
    seeds = dict.fromkeys(RATES, FEW)
    while True:
        means = {power: _tried(series, d, FACTOR**power, n) for power, n in seeds.items()}
        ranked = sorted(means, key=lambda power: -means[power])
        if few := [power for power in ranked[:2] if seeds[power] < many]:
            seeds |= dict.fromkeys(few, many)
            continue
        best = ranked[0]
        beyond = {best - 1, best + 1} - set(seeds)
        if not beyond or abs(best) == MOST:
            return FACTOR**best, means[best]
        seeds |= dict.fromkeys(beyond, FEW)


def _tried(series: Simulated, d: int | None, rate: float, seeds: int) -> float:
    """Return the mean over seeds, a stuck run left out."""
    values = [float(series.run(d, rate, one, "rates").mean()) for one in TUNING_SEEDS[:seeds]]
    moved = [value for value in values if value > series.trivial + 0.02]
    return fmean(moved or values)
