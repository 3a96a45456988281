"""Simulated lanes with a known d90: does the interval hold it, does the search find the grid's?

    python -m said_lightning.search.simulate results/simulated

writes `coverage.json` and `search.json`. The lanes rise from chance to a ceiling near full
fine-tuning by curves of four families, one with kinks; seeds scatter, more at small d, differently
for full fine-tuning; the best learning rate lies off the rule's and drifts with d. Their d90 is
that of expected values at the best of the rates tried.
"""

import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.random import Generator

from said_lightning.analysis.d90 import SHARE
from said_lightning.analysis.fit import Fit, Levels, fit
from said_lightning.analysis.points import Point, curve
from said_lightning.search.lane import STEP, Lane

RATES = (1.0, 10**0.5, 10**-0.5, 10.0)
PAPER_GRID = (64, 3, 4)  # points from 100 to 1,000,000, seeds, learning rates
GRIDS = (PAPER_GRID, (32, 3, 1), (16, 3, 4), (10, 3, 1), (8, 5, 1), (8, 2, 1))

Shape = Callable[[float], float]


@dataclass(frozen=True)
class Simulated:
    """A lane whose d90 is 10^`x90`: `scatter` of its seeds, at d90 and beyond, and `full`'s."""

    family: str
    shape: Shape
    trivial: float
    full: float
    limit: float
    x90: float
    shift: float
    scatter: float
    scatter_below: float
    scatter_full: float
    rate: float
    drift: float
    bend: float

    def run(self, rng: Generator, d: float, rate: float, seeds: int) -> list[float]:
        """Draws the metric of runs that differ in their seed."""
        away = math.log10(d) - self.x90
        reached = self.shape(away + self.shift)
        offs = [math.log10(one) - self.rate - self.drift * away for one in RATES]
        off = math.log10(rate) - self.rate - self.drift * away
        lost = self.bend * (off**2 - min(one**2 for one in offs))
        mean = self.trivial + (self.limit - self.trivial) * reached * max(0.0, 1 - lost)
        scatter = self.scatter * (1 + self.scatter_below * (1 - reached))
        return [float(value) for value in rng.normal(mean, scatter, seeds)]

    def baseline(self, rng: Generator, seeds: int) -> list[float]:
        """Draws the metric of full fine-tuning."""
        return [float(value) for value in rng.normal(self.full, self.scatter_full, seeds)]

    def best_rate(self) -> float:
        """Gives the rate that is best at d90."""
        return min(RATES, key=lambda rate: abs(math.log10(rate) - self.rate))


def draw(rng: Generator) -> Simulated:
    """Draws a lane whose threshold lies between chance and its ceiling."""
    while True:
        trivial = rng.uniform(0.3, 0.7)
        full = rng.uniform(trivial + 0.1, 0.97)
        limit = full * rng.uniform(0.95, 1.02)
        if SHARE * full > trivial + 0.02:
            break
    family, shape = _shape(rng)
    part = (SHARE * full - trivial) / (limit - trivial)
    scatter = math.exp(rng.uniform(math.log(0.002), math.log(0.015)))
    return Simulated(
        family=family,
        shape=shape,
        trivial=trivial,
        full=full,
        limit=limit,
        x90=rng.uniform(2.3, 5.3),
        shift=_where(shape, part),
        scatter=scatter,
        scatter_below=rng.uniform(0, 2),
        scatter_full=scatter * rng.uniform(0.5, 1.5),
        rate=rng.uniform(-0.4, 0.4),
        drift=rng.uniform(-0.1, 0.1),
        bend=rng.uniform(0.1, 0.6),
    )


def _shape(rng: Generator) -> tuple[str, Shape]:
    """Draws a curve from 0 to 1 over log10 d."""
    width = rng.uniform(0.2, 0.6)
    x = np.array([-3, *np.sort(rng.uniform(-1.5, 1.5, 4)), 3]) * width / 0.6
    y = np.array([0, *np.sort(rng.uniform(0, 1, 4)), 1])
    shapes: dict[str, Shape] = {
        "logistic": lambda u: 1 / (1 + math.exp(-u / width)),
        "gompertz": lambda u: math.exp(-math.exp(-u / width)),
        "hill": lambda u: 1 / (1 + 10**-u),
        "kinks": lambda u: float(np.interp(u, x, y)),
    }
    family = str(rng.choice(list(shapes)))
    return family, shapes[family]


def _where(shape: Shape, part: float) -> float:
    """Finds the place at which a curve reaches a part of its rise."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if shape(middle) < part else (low, middle)
    return high


def grid(points: int) -> Float[ndarray, " points"]:
    """Gives the paper's grid, or a coarser one over its range."""
    return np.floor(np.logspace(2, 6, points) + 1e-9)


def study(lane: Simulated, rng: Generator, points: int, seeds: int, rates: int) -> list[Point]:
    """Runs a grid and gives its curve."""
    tried = RATES if rates == len(RATES) else (lane.best_rate(),)
    made = []
    for d in grid(points):
        for rate in tried:
            values = tuple(lane.run(rng, d, rate, seeds))
            made.append(Point(int(d), float(np.mean(values)), rate, values))
    return list(curve(made))


def read(line: Sequence[Point], full: Sequence[float]) -> Fit:
    """Reads d90 from a grid."""
    return fit([(point.d, point.values) for point in line], full, Levels(SHARE, 0))


def coverage(lanes: int, design: tuple[int, int, int], seed: int = 0) -> dict[str, Any]:
    """Counts how often the 90 % interval of a grid holds the true d90, in all and by family."""
    rng = np.random.default_rng(seed)
    held: dict[str, list[bool]] = defaultdict(list)
    widths = []
    for _ in range(lanes):
        lane = draw(rng)
        found = read(study(lane, rng, *design), lane.baseline(rng, design[1]))
        low, high = found.interval or (None, None)
        held[lane.family].append((low or 0) <= 10**lane.x90 <= (high or math.inf))
        widths.append(math.log((high or 10**6) / (low or 100)) / math.log(STEP))
    every = [one for family in held.values() for one in family]
    return {
        "points": design[0],
        "seeds": design[1],
        "rates": design[2],
        "lanes": lanes,
        "held": round(sum(every) / lanes, 4),
        "median_width_in_steps": round(median(widths), 2),
        "held_by_family": {
            name: round(float(np.mean(held[name])), 3) for name in sorted(held)
        },
    }


def compare(lanes: int, seed: int = 0, budget: int = 38) -> dict[str, Any]:
    """Searches lanes of which the paper's whole grid is run as well, and counts agreement.

    Both have the same runs of full fine-tuning. Distances are in steps of the grid.
    """
    rng = np.random.default_rng(seed)
    runs, steps, truths, paper = [], [], [], []
    for _ in range(lanes):
        lane = draw(rng)
        full = lane.baseline(rng, 3)
        line = study(lane, rng, *PAPER_GRID)
        whole = read(line, full).d
        search = Lane(full, 100, 10**6, RATES, budget)
        while jobs := search.ask():
            for job in jobs:
                (value,) = lane.run(rng, job.d, job.rate, 1)
                search.tell(job, min(value, search.stop_at))
        found = search.fit().d
        runs.append(len(search.told))
        first = next((p.d for p in line if p.mean >= search.threshold), None)
        steps.append(_steps(found, whole))
        truths.append(_steps(found, 10**lane.x90))
        # The paper's reading is a d of the grid: so is the search's next d of the grid.
        paper.append(_steps(next((d for d in search.grid if found and d >= found), None), first))
    within = [sum(one <= 1 + 1e-9 for one in many) / lanes for many in (steps, truths)]
    return {
        "lanes": lanes,
        "grid_runs": math.prod(PAPER_GRID),
        "search_runs": {"median": median(runs), "most": max(runs)},
        "within_one_step_of": {
            "the grid's fitted d90": round(within[0], 4),
            "the true d90": round(within[1], 4),
            "the grid's smallest d, as the paper reads it": round(
                sum(one < 1.5 for one in paper) / lanes, 4
            ),
        },
        "median_steps_from_the_grid": round(median(steps), 3),
    }


def _steps(one: float | None, other: float | None) -> float:
    """The distance between two d in steps of the grid; no answer agrees with no answer alone."""
    if one is None or other is None:
        return 0.0 if one is other else math.inf
    return abs(math.log(one / other)) / math.log(STEP)


def main(folder: Path, lanes: int = 1000) -> None:
    """Writes both files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, found in (
        ("coverage", [coverage(lanes, design) for design in GRIDS]),
        ("search", compare(lanes)),
    ):
        (folder / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
