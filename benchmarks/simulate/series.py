"""A simulated series with a known d90: harsh, and with a score for each row.

Rows have a difficulty that all runs share, so that runs agree on rows more than chance has it; a
seed has an effect shared over d and with full fine-tuning; some runs are stuck; the best rate lies
up to a factor of 4 off the rule's and drifts with d.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.random import Generator

from benchmarks.simulate.families import Family, Shape, where

SHARE = 0.9
FACTOR = 3.0  # between two rates of the list
OFF = math.log10(4)  # the best rate lies this far off the rule's at most
STUCK = 0.05
RESIDUALS = Path(__file__).parents[2] / "results" / "simulated" / "residuals.json"
REAL = 0.0125  # the usual scatter of real runs near d90; their residuals are drawn as they are

Tails = Literal["normal", "t3", "real"]
Stage = Literal["rates", "locate", "confirm"]
Rows = Float[ndarray, " rows"]


@dataclass(frozen=True)
class Simulated:
    """A series whose d90 is `d90` at the best rate of a list of factor 3.

    `scatter` is the standard deviation over seeds of a run's expected accuracy at d90; the draw of
    its rows comes on top. A part `shared` of its variance is the seed's at every d, and `paired`
    is the correlation of that with full fine-tuning's.
    """

    key: int
    family: str
    shape: Shape
    tails: Tails
    trivial: float
    full: float
    limit: float
    x90: float
    shift: float
    scatter: float
    scatter_below: float
    scatter_full: float
    shared: float
    paired: float
    stuck: float
    best: float
    best_full: float
    drift: float
    bend: float
    rows: int
    in_row: float
    in_common: float
    task: int

    @property
    def d90(self) -> float:
        """The true d90."""
        return float(10**self.x90)

    def run(self, d: int | None, rate: float, seed: int, stage: Stage) -> Rows:
        """Return the row scores, 0 or 1, of one run; d is None for full fine-tuning.

        The stage `rates` scores the select rows, which are others than those of the report.
        """
        place = 0 if d is None else d
        key = self.task if d is None else self.key
        own = np.random.default_rng([key, 1, place, round(1e6 * rate), seed])
        select = stage == "rates"
        if own.random() < self.stuck:
            return self._majority(select)
        mean = self.mean(d, rate) + self._seed_effect(d, seed, own)
        bound = NormalDist().inv_cdf(min(max(mean, 0.01), 0.995))
        hard = self._difficulty(d is None, select)
        luck = own.standard_normal(self.rows)
        latent = math.sqrt(self.in_row) * hard + math.sqrt(1 - self.in_row) * luck
        return (latent < bound).astype(float)

    def mean(self, d: int | None, rate: float) -> float:
        """Return the expected accuracy at a rate."""
        if d is None:
            return self._tuned(1.0, self.full, self.best_full, rate, 0.0)
        return self._at(math.log10(d), rate)

    def _tuned(self, rise: float, top: float, best: float, rate: float, away: float) -> float:
        """Return the expected accuracy where the best rate drifts with the distance from d90."""
        off = best + (self.drift * away)
        lost = self.bend * ((math.log10(rate) - off) ** 2 - _least(off))
        return self.trivial + (top - self.trivial) * rise * max(0.0, 1 - lost)

    def d90_at(self, rate: float, full_rate: float) -> float:
        """Return d90 at rates that need not be the best, infinite where it is not reached."""
        level = SHARE * self.mean(None, full_rate)
        low, high = self.x90 - 2.0, self.x90 + 2.0
        if self._at(high, rate) < level:
            return math.inf
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self._at(middle, rate) < level else (low, middle)
        return float(10**high)

    def _at(self, x: float, rate: float) -> float:
        """Return the expected accuracy at log10 d."""
        away = x - self.x90
        return self._tuned(self.shape(away + self.shift), self.limit, self.best, rate, away)

    def measured_trivial(self) -> float:
        """Return the share of the larger class on the report rows."""
        return float(self._majority(False).mean())

    def _seed_effect(self, d: int | None, seed: int, own: Generator) -> float:
        """Draw how far a run's expected accuracy lies from the mean over seeds."""
        every = self._tail(np.random.default_rng([self.task, 2, seed]), 1.0)
        key = self.task if d is None else self.key
        side = self._tail(np.random.default_rng([key, 3, d is None, seed]), 1.0)
        shared = math.sqrt(self.paired) * every + math.sqrt(1 - self.paired) * side
        height = self.shape(math.log10(d) - self.x90 + self.shift) if d else 1.0
        single = self._tail(own, height)
        effect = math.sqrt(self.shared) * shared + math.sqrt(1 - self.shared) * single
        scale = self.scatter_full if d is None else self.scatter
        return scale * (1 + self.scatter_below * (1 - height)) * effect

    def _tail(self, rng: Generator, height: float) -> float:
        """Draw a seed's effect, of standard deviation 1 but for those of real runs."""
        if self.tails == "t3":
            return float(rng.standard_t(3)) / math.sqrt(3)
        if self.tails == "real":
            part = "low" if height < 0.5 else "middle" if height < 0.85 else "high"
            return float(rng.choice(residuals(part))) / REAL
        return float(rng.standard_normal())

    def _majority(self, select: bool) -> Rows:
        rng = np.random.default_rng([self.task, 3, select])
        return (rng.random(self.rows) < self.trivial).astype(float)

    def _difficulty(self, full: bool, select: bool) -> Rows:
        common = np.random.default_rng([self.task, 4, select]).standard_normal(self.rows)
        key = self.task if full else self.key
        side = np.random.default_rng([key, 5 + full, select]).standard_normal(self.rows)
        return math.sqrt(self.in_common) * common + math.sqrt(1 - self.in_common) * side


@cache
def residuals(part: Literal["low", "middle", "high"]) -> tuple[float, ...]:
    """Return the residuals of committed runs in that part of their curve."""
    return tuple(json.loads(RESIDUALS.read_text())["residuals"][part])


def _least(off: float) -> float:
    """Return the squared distance of the best rate of the list from the optimum."""
    step = math.log10(FACTOR)
    return (off - step * round(off / step)) ** 2


def draw(key: int, families: Mapping[str, Family]) -> Simulated:
    """Draw a series whose threshold lies between chance and its ceiling."""
    rng = np.random.default_rng([key, 0])
    while True:
        trivial = rng.uniform(0.3, 0.7)
        full = rng.uniform(trivial + 0.1, 0.97)
        limit = full * rng.uniform(0.95, 1.02)
        part = (SHARE * full - trivial) / (limit - trivial)
        if SHARE * full > trivial + 0.03 and part < 0.99:
            break
    family = str(rng.choice(sorted(families)))
    shape = families[family](rng)
    tails: Tails = ("normal", "t3", "real")[rng.integers(3)]
    scatter = math.exp(rng.uniform(math.log(0.005), math.log(0.02))) if tails != "real" else REAL
    return Simulated(
        key=key,
        family=family,
        shape=shape,
        tails=tails,
        trivial=trivial,
        full=full,
        limit=limit,
        x90=rng.uniform(2.3, 4.5),
        shift=where(shape, part),
        scatter=scatter,
        scatter_below=rng.uniform(0, 1) if tails != "real" else 0.0,
        scatter_full=scatter * (rng.uniform(0.5, 1.2) if tails != "real" else 1.0),
        shared=rng.uniform(0, 0.7),
        paired=rng.uniform(0, 0.8),
        stuck=STUCK if rng.random() < 1 / 3 else 0.0,
        best=rng.uniform(-OFF, OFF),
        best_full=rng.uniform(-OFF, OFF),
        drift=rng.uniform(-0.1, 0.1),
        bend=rng.uniform(0.1, 0.6),
        rows=round(math.exp(rng.uniform(math.log(400), math.log(2000)))),
        in_row=rng.uniform(0.4, 0.9),
        in_common=rng.uniform(0.5, 0.95),
        task=key,
    )


def beside(one: Simulated, key: int, families: Mapping[str, Family], factor: float) -> Simulated:
    """Draw another series of the same task, model and rows, whose d90 is `factor` as large."""
    other = draw(key, families)
    same = ("trivial", "full", "tails", "scatter", "scatter_below", "scatter_full", "stuck")
    rest = ("paired", "shared", "best_full", "bend", "rows", "in_row", "in_common", "task")
    kept = {name: getattr(one, name) for name in (*same, *rest)}
    part = (SHARE * one.full - one.trivial) / (one.limit - one.trivial)
    shift = where(other.shape, part)
    return replace(other, **kept, limit=one.limit, x90=one.x90 + math.log10(factor), shift=shift)
