"""How far the mean of a few runs may lie from the truth: seeds and report rows, drawn jointly.

Two things vary. Another seed would give another metric: a part of that is shared over d, since a
seed shares its head and its data order, and the rest is each run's own. And the report rows are a
sample: other rows would have moved all runs together. Both are drawn jointly for several groups of
cells (the points of a curve, full fine-tuning, another series), so that what they share falls out
of any difference between them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.random import Generator

# What few seeds show of the variance shared over d is held against the variance that is not, which
# all d measure together: as much as this many seeds more would, at this share of it.
PRIOR_SEEDS, PRIOR_SHARE = 3.0, 0.5
# Without row scores: the part of a 0/1 score's variance that lies in the row and not in the run,
# and the correlation of rows between a curve and full fine-tuning.
ROW_SHARE, ROW_PAIRED = 0.5, 0.5

Scores = float | Float[ndarray, " rows"]
Matrix = Float[ndarray, "cells cells"]


class Cell(NamedTuple):
    """Runs that differ in their seed alone: metric of each, and the score of each at every row."""

    seeds: tuple[int, ...]
    values: Float[ndarray, " seeds"]
    rows: Float[ndarray, "seeds rows"] | None

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return float(self.values.mean())


class Group(NamedTuple):
    """Cells whose seeds may have effects in common, and how much each counts for measuring them."""

    cells: Sequence[Cell]
    weight: Float[ndarray, " cells"]


def cell(scores: Mapping[int, Scores]) -> Cell:
    """Return the runs of one d, sorted by seed."""
    seeds = tuple(sorted(scores))
    values = np.array([float(np.mean(scores[seed])) for seed in seeds])
    given = [scores[seed] for seed in seeds]
    rows = [np.asarray(one, dtype=float) for one in given if not isinstance(one, float)]
    return Cell(seeds, values, np.stack(rows) if len(rows) == len(given) else None)


class Noise:
    """The joint noise of the means of all cells.

    Args:
        groups: the curves first, full fine-tuning after them.
        rows: the number of report rows, where scores are plain numbers that are shares of rows.
    """

    def __init__(self, groups: Sequence[Group], rows: int | None = None) -> None:
        self.groups = groups
        self.cells = [one for group in groups for one in group.cells]
        self._of = np.repeat(np.arange(len(groups)), [len(group.cells) for group in groups])
        self._runs = np.array([len(one.seeds) for one in self.cells], dtype=float)
        floors = self._rows(rows)
        self._seeds(floors)

    @property
    def measured(self) -> bool:
        """Whether any two runs differ in their seed alone."""
        return bool((self._runs > 1).any())

    def draw(self, rng: Generator, draws: int, seeds: bool = True, rows: bool = True) -> ndarray:
        """Draw the error of each cell's mean, from seeds and from rows, or from one alone."""
        found = np.zeros((draws, len(self.cells)))
        if rows:
            found += _normal(rng, draws, self.row_covariance)
        if seeds:
            found += self._seed_errors(rng, draws)
        return found

    def _rows(self, rows: int | None) -> Float[ndarray, " cells"]:
        """Set the covariance that other rows would give; return what each run owes to them."""
        every = [one.rows for one in self.cells]
        if all(one is not None for one in every):
            return self._row_scores([one for one in every if one is not None])
        number = len(self.cells)
        if rows is None:
            self.row_covariance: Matrix = np.zeros((number, number))
            return np.zeros(number)
        means = np.clip([one.mean for one in self.cells], 0.0, 1.0)
        binomial = means * (1 - means) / rows
        paired = np.where(self._of[:, None] == self._of, 1.0, ROW_PAIRED)
        self.row_covariance = ROW_SHARE * paired * np.sqrt(np.outer(binomial, binomial))
        return (1 - ROW_SHARE) * binomial

    def _row_scores(self, every: list[Float[ndarray, "..."]]) -> Float[ndarray, " cells"]:
        """Set the covariance of the rows' own difficulty, the scatter of single runs taken off."""
        number = len(every)
        length = every[0].shape[1]
        own = np.array(
            [one.var(0, ddof=1).mean() / length if len(one) > 1 else np.nan for one in every]
        )
        whole = np.array([one.var(1).mean() / length for one in every])
        share = np.nansum(own) / max(float(whole[~np.isnan(own)].sum()), 1e-300)
        own = np.where(np.isnan(own), share * whole, own)
        covariance = np.zeros((number, number))
        for size in {one.shape[1] for one in every}:
            same = [i for i, one in enumerate(every) if one.shape[1] == size]
            means = np.stack([every[i].mean(0) for i in same])
            covariance[np.ix_(same, same)] = np.atleast_2d(np.cov(means)) / size
        self.row_covariance = covariance - np.diag(own / self._runs)
        return own

    def _seeds(self, floors: Float[ndarray, " cells"]) -> None:
        """Set the variance of seeds: of each run's own, and of what a seed shares over d."""
        groups = len(self.groups)
        own = np.zeros(groups)
        self._freedom = np.full(groups, np.inf)
        effects: list[dict[int, float]] = []
        for g, group in enumerate(self.groups):
            floor = float(group.weight @ floors[self._of == g] / group.weight.sum())
            effect, variance, self._freedom[g] = _effects(group)
            effects.append(effect)
            own[g] = max(variance, floor)
        curves = [g for g, group in enumerate(self.groups) if len(group.cells) > 1]
        typical = float(np.mean(own[curves])) if curves else 0.0
        covariance = np.zeros((groups, groups))
        known = np.zeros((groups, groups))
        for g in range(groups):
            for h in range(groups):
                common = sorted(set(effects[g]) & set(effects[h]))
                known[g, h] = freedom = max(len(common) - 1, 0)
                total = sum(effects[g][seed] * effects[h][seed] for seed in common)
                prior = 0.0
                if g == h:
                    spread = self.groups[g].weight / self.groups[g].weight.sum()
                    scale = own[g] if g in curves else typical
                    prior = scale * (PRIOR_SHARE + float(spread @ spread))
                covariance[g, h] = (total + PRIOR_SEEDS * prior) / (freedom + PRIOR_SEEDS)
                mean = [self._mean_runs(one) for one in (g, h)]
                covariance[g, h] *= 1 / mean[0] if g == h else len(common) / (mean[0] * mean[1])
            if g not in curves:
                covariance[g, g] = max(covariance[g, g], own[g] / self._mean_runs(g))
                own[g] = 0.0
        self._own = own
        self.shared = covariance
        self._shared_freedom = float(known.diagonal().min()) + PRIOR_SEEDS

    def _mean_runs(self, g: int) -> float:
        return float(self._runs[self._of == g].mean())

    def _seed_errors(self, rng: Generator, draws: int) -> ndarray:
        """Draw the errors of the cells' means from seeds."""
        size = np.sqrt(self._shared_freedom / rng.chisquare(self._shared_freedom, (draws, 1)))
        found = (_normal(rng, draws, self.shared) * size)[:, self._of]
        single = rng.standard_normal((draws, len(self.cells))) / np.sqrt(self._runs)
        for g, group in enumerate(self.groups):
            if self._own[g] == 0.0:
                continue
            freedom = self._freedom[g]
            scale = self._own[g] * (freedom / rng.chisquare(freedom, (draws, 1)))
            own = single[:, self._of == g] * np.sqrt(scale)
            found[:, self._of == g] += own - own @ (group.weight / group.weight.sum())[:, None]
        return found


def _effects(group: Group) -> tuple[dict[int, float], float, float]:
    """Return each seed's effect over the cells, the variance of single runs around it, its freedom.

    The variance is 0 and its freedom infinite where there is nothing to measure it.
    """
    cells = [
        (w, one) for w, one in zip(group.weight, group.cells, strict=True) if len(one.seeds) > 1
    ]
    sums: dict[int, list[tuple[float, float]]] = {}
    for w, one in cells:
        for seed, value in zip(one.seeds, one.values, strict=True):
            sums.setdefault(seed, []).append((w, value - one.mean))
    effects = {
        seed: sum(w * rest for w, rest in found) / sum(w for w, _ in found)
        for seed, found in sums.items()
    }
    weight = np.array([w for w, _ in cells])
    if len(cells) < 2:
        return effects, 0.0, np.inf
    spread = weight / weight.sum()
    left = 1 - 2 * spread + spread @ spread
    seeds = np.array([len(one.seeds) - 1 for _, one in cells])
    squares = np.array(
        [
            sum(
                (v - one.mean - effects[s]) ** 2 for s, v in zip(one.seeds, one.values, strict=True)
            )
            for _, one in cells
        ]
    )
    variance = float(weight @ squares / (weight @ (seeds * left)))
    freedom = float((weight @ (seeds * left)) ** 2 / (weight**2 @ (seeds * left)))
    return effects, variance, freedom


def _normal(rng: Generator, draws: int, covariance: Matrix) -> ndarray:
    """Draw normal rows of a covariance, what is negative of it cut."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return rng.standard_normal((draws, len(values))) @ root.T
