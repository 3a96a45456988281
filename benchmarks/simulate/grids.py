"""A grid of d over a simulated series, run as the protocol has it: rates, then fresh seeds."""

import math
from collections.abc import Mapping
from statistics import fmean
from typing import NamedTuple

import numpy as np

from benchmarks.simulate.series import FACTOR, SHARE, Rows, Simulated

TUNING_SEEDS = (1001, 1002)  # used nowhere else
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


def study(series: Simulated, design: Design) -> Study:
    """Choose the rates, and make the runs."""
    ds = grid(series, design)
    top, reached = best_rate(series, None)
    level = SHARE * reached
    at_rule = [float(series.run(d, 1.0, TUNING_SEEDS[0], "rates").mean()) for d in ds]
    near = min(range(len(ds)), key=lambda i: abs(at_rule[i] - level))
    rate, _ = best_rate(series, ds[near])
    seeds = range(design.seeds)
    return Study(
        {d: {seed: series.run(d, rate, seed, "confirm") for seed in seeds} for d in ds},
        {seed: series.run(None, top, seed, "confirm") for seed in seeds},
        rate,
        top,
    )


def best_rate(series: Simulated, d: int | None) -> tuple[float, float]:
    """Return the rate with the best mean on the select rows, and that mean."""
    tried: dict[int, float] = {}
    wanted = set(RATES)
    while wanted:
        for power in sorted(wanted):
            tried[power] = _tried(series, d, FACTOR**power)
        best = max(tried, key=lambda power: tried[power])
        wanted = {best - 1, best + 1} - set(tried)
        wanted = {power for power in wanted if abs(power) <= MOST}
    return FACTOR**best, tried[best]


def _tried(series: Simulated, d: int | None, rate: float) -> float:
    """Return the mean over seeds, a stuck run left out."""
    values = [float(series.run(d, rate, seed, "rates").mean()) for seed in TUNING_SEEDS]
    moved = [value for value in values if value > series.trivial + 0.02]
    return fmean(moved or values)
