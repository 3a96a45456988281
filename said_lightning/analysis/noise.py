"""How far the mean of a few runs may lie from the truth: seeds and report rows, drawn jointly.

Two things vary. Another seed would give another metric: a part of that is shared over d, since a
seed shares its head and its data order, and the rest is each run's own. And the report rows are a
sample: other rows would have moved all runs together. Both are drawn jointly for several groups of
cells (the points of a curve, full fine-tuning, another series), so that what they share falls out
of any difference between them.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray
from numpy.random import Generator

# What few seeds show of the variance shared over d, and of full fine-tuning's, is held against the
# variance of single runs, which all d measure together: as this many seeds more would, that showed
# these shares of it. Real runs shared more, 0.33, and full fine-tuning's varied less, 0.06
# (results/simulated/residuals.json); with both as they are, intervals hold on simulated series.
PRIOR_SEEDS, PRIOR_SHARE, PRIOR_FULL = 4.0, 0.15, 0.6
# Without row scores: the part of a 0/1 score's variance that lies in the row and not in the run,
# and the correlation of rows between a curve and full fine-tuning.
ROW_SHARE, ROW_PAIRED = 0.5, 0.5

BLOCK = 200_000  # multiplications that a BLAS does at once, without waking threads

# Of any length to the annotations: that lengths differ is a message of its own.
Scores = float | Shaped[ndarray, " _"]
Matrix = Float[ndarray, "cells cells"]
Root = Float[ndarray, "cells directions"]
Errors = Float[ndarray, "draws cells"]


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
    rows = [np.asarray(one, dtype=float) for one in given if np.ndim(one)]
    return Cell(seeds, values, np.stack(rows) if len(rows) == len(given) else None)


class Noise:
    """The joint noise of the means of all cells.

    Args:
        curves: the points of each curve.
        tops: full fine-tuning, of one cell each.
        rows: the number of report rows, where scores are plain numbers that are shares of rows.
    """

    def __init__(
        self, curves: Sequence[Group], tops: Sequence[Group], rows: int | None = None
    ) -> None:
        groups = [*curves, *tops]
        self._is_curve = np.arange(len(groups)) < len(curves)
        self.cells = [one for group in groups for one in group.cells]
        self._of = np.repeat(np.arange(len(groups)), [len(group.cells) for group in groups])
        self._weight = np.concatenate([group.weight for group in groups])
        seeds = sorted({seed for one in self.cells for seed in one.seeds})
        self._has = np.array([[seed in one.seeds for seed in seeds] for one in self.cells], float)
        self._runs = self._has.sum(1)
        self.row_covariance, floors = self._rows(rows)
        self._seeds(floors)

    @property
    def measured(self) -> bool:
        """Whether two runs at least of every curve differ in their seed alone."""
        return bool((self._own_freedom[self._is_curve] > 0).all())

    def draw(self, rng: Generator, draws: int, seeds: bool = True, rows: bool = True) -> Errors:
        """Draw the error of each cell's mean, from seeds and from rows, or from one alone."""
        found = np.zeros((draws, len(self.cells)))
        if rows:
            found += normal(rng, draws, self._row_root)
        if seeds:
            found += self._seed_errors(rng, draws)
        return found

    def variance(self, weights: Float[ndarray, " cells"]) -> float:
        """Return the variance of a weighted sum of the cells' means."""
        own = weights**2 @ (self.own[self._of] / self._runs)
        both = self._shared_covariance + self.row_covariance
        return max(float(weights @ both @ weights + own), 0.0)

    @cached_property
    def _shared_covariance(self) -> Matrix:
        """The covariance of the cells' means by what seeds share."""
        common = self._has @ self._has.T / np.outer(self._runs, self._runs)
        return self.shared[np.ix_(self._of, self._of)] * common

    @cached_property
    def _shared_root(self) -> Root:
        # Cells of one group that have the same seeds have one error, which is looked at once.
        kinds = np.column_stack([self._of, self._has])
        _, first, which, counts = np.unique(
            kinds, axis=0, return_index=True, return_inverse=True, return_counts=True
        )
        scale = np.sqrt(counts)
        small = self._shared_covariance[np.ix_(first, first)] * np.outer(scale, scale)
        return (root(small) / scale[:, None])[which.ravel()]

    @cached_property
    def _row_root(self) -> Root:
        return root(self.row_covariance)

    def _rows(self, rows: int | None) -> tuple[Matrix, Float[ndarray, " cells"]]:
        """Return the covariance that other rows would give, and each run's own variance."""
        scores = [one.rows for one in self.cells if one.rows is not None]
        if len(scores) == len(self.cells):
            return _row_scores(scores)
        number = len(self.cells)
        if rows is None:
            return np.zeros((number, number)), np.zeros(number)
        means = np.clip([one.mean for one in self.cells], 0.0, 1.0)
        binomial = means * (1 - means) / rows
        paired = np.where(self._of[:, None] == self._of, 1.0, ROW_PAIRED)
        covariance = ROW_SHARE * paired * np.sqrt(np.outer(binomial, binomial))
        return covariance, (1 - ROW_SHARE) * binomial

    def _seeds(self, floors: Float[ndarray, " cells"]) -> None:
        """Set the variance of seeds: of each run's own, and of what a seed shares over d.

        What is shared is measured together with the mean of the runs' own over d, which is taken
        off those again where they are drawn. Full fine-tuning's is all in the shared part.
        """
        every = [self._effects(g) for g in range(self._of[-1] + 1)]
        floor = [self.weights(g) @ floors for g in range(len(every))]
        self.own = np.array([max(f, one.variance) for f, one in zip(floor, every, strict=True)])
        typical = self.own[self._is_curve].mean()
        self.shared = np.zeros((len(every), len(every)))
        known = np.zeros_like(self.shared)
        for g, one in enumerate(every):
            for h, other in enumerate(every):
                known[g, h] = abs((one.map * other.map).sum())
                self.shared[g, h] = one.effect @ other.effect / (known[g, h] + PRIOR_SEEDS)
            spread = self.weights(g)
            curve = self._is_curve[g]
            prior = self.own[g] * (PRIOR_SHARE + spread @ spread) if curve else typical * PRIOR_FULL
            self.shared[g, g] += PRIOR_SEEDS * prior / (known[g, g] + PRIOR_SEEDS)
            if not curve:
                self.shared[g, g] = max(self.shared[g, g], floor[g])
        self.own[~self._is_curve] = 0.0
        self._own_freedom = np.array([one.freedom for one in every])
        self.freedom = float(known.diagonal().min()) + PRIOR_SEEDS

    def weights(self, g: int) -> Float[ndarray, " cells"]:
        """Return what each cell counts for the seeds' noise of its group, in sum 1."""
        weight = np.where(self._of == g, self._weight, 0.0)
        return weight / weight.sum()

    def _effects(self, g: int) -> "Effects":
        """Return what each seed of a group has in common over its cells."""
        has = self._has[self._of == g] * (self._runs[self._of == g] > 1)[:, None]
        runs = np.maximum(has.sum(1, keepdims=True), 1)
        values = np.zeros_like(has)
        for i, one in enumerate(self._in(g)):
            values[i, self._has[self._of == g][i] > 0] = one.values
        rests = (values - (values * has).sum(1, keepdims=True) / runs) * has
        weight = has * self._weight[self._of == g][:, None]
        part = weight / np.maximum(weight.sum(0), 1e-300)
        effect = (part * rests).sum(0)
        # The effects' map from what seeds have in common; a cell's mean takes its part of it off.
        of_seeds = np.diag((has.sum(0) > 0).astype(float)) - part.T @ (has / runs)
        left = has * (1 - 1 / runs) * (1 - 2 * part + (part**2).sum(0))
        known = float((weight * left).sum())
        if known < 1e-9:  # one cell has several runs, and what they share with others is not seen
            single = weight * (1 - 1 / runs)
            known = float(single.sum())
            freedom = known**2 / max(float((weight * single).sum()), 1e-300)
            own = float((weight * rests**2).sum()) / max(known, 1e-300)
            return Effects(effect, of_seeds, own, freedom)
        variance = float((weight * (rests - effect) ** 2 * has).sum()) / known
        return Effects(effect, of_seeds, variance, known**2 / float((weight**2 * left).sum()))

    def _in(self, g: int) -> list[Cell]:
        return [one for one, of in zip(self.cells, self._of, strict=True) if of == g]

    def _seed_errors(self, rng: Generator, draws: int) -> Errors:
        """Draw the errors of the cells' means from seeds."""
        found = normal(rng, draws, self._shared_root)
        found *= _student(rng, draws, self.freedom)
        for g in map(int, np.flatnonzero(self._is_curve)):
            mine = np.flatnonzero(self._of == g)
            own = rng.standard_normal((draws, len(mine))) * np.sqrt(self.own[g] / self._runs[mine])
            own *= _student(rng, draws, self._own_freedom[g])
            found[:, mine] += own - np.einsum("ij,j->i", own, self.weights(g)[mine])[:, None]
        return found


class Effects(NamedTuple):
    """What seeds have in common over d, and what runs scatter around it.

    `map` leads from the true effects of all seeds to the ones seen; `freedom` is that of the
    variance, 0 where there is nothing to measure it.
    """

    effect: Float[ndarray, " seeds"]
    map: Float[ndarray, "seeds seeds"]
    variance: float
    freedom: float


def _row_scores(
    scores: Sequence[Float[ndarray, "_ _"]],
) -> tuple[Matrix, Float[ndarray, " cells"]]:
    """Return the covariance of rows' difficulty, and the variance of one run around it."""
    runs = np.array([len(one) for one in scores])
    sizes = np.array([one.shape[1] for one in scores])
    whole = np.array([one.var(1).mean() for one in scores]) / sizes
    several = runs > 1
    own = np.array([one.var(0, ddof=1).mean() if len(one) > 1 else 0.0 for one in scores]) / sizes
    share = own.sum() / max(float(whole[several].sum()), 1e-300)
    own = np.where(several, own, share * whole)
    covariance = np.zeros((len(scores), len(scores)))
    for size in set(sizes):
        same = np.flatnonzero(sizes == size)
        means = np.stack([scores[int(i)].mean(0) for i in same])
        away = means - means.mean(1, keepdims=True)
        covariance[np.ix_(same, same)] = _product(away, away.T) / max(size - 1, 1) / size
    return covariance - np.diag(own / runs), own


def _student(rng: Generator, draws: int, freedom: float) -> Float[ndarray, "draws 1"]:
    """Draw how far a standard deviation of so few degrees of freedom may be off."""
    return np.sqrt(freedom / rng.chisquare(freedom, (draws, 1)))


def root(covariance: Matrix) -> Root:
    """Return a root of a covariance, what is negative of it cut."""
    # For matrices of this size, eigh would wake other threads of a BLAS. Where a singular vector's
    # two sides point away from each other, the eigenvalue is negative.
    left, values, right = np.linalg.svd((covariance + covariance.T) / 2)
    there = (values > 1e-12 * values[0]) & (np.einsum("ij,ji->j", left, right) > 0)
    return left[:, there] * np.sqrt(values[there])


def normal(rng: Generator, draws: int, of: Root) -> Errors:
    """Draw normal rows of a covariance, by its root."""
    return _product(rng.standard_normal((draws, of.shape[1])), of.T)


def _product(one: Float[ndarray, "rows inner"], other: Float[ndarray, "inner columns"]) -> Errors:
    """Return the matrix product, in blocks that a BLAS leaves on one thread.

    Waking other threads takes far longer than these products, and more so where cores are busy.
    """
    found = np.empty((len(one), other.shape[1]))
    rows = max(BLOCK // max(other.size, 1), 1)
    for start in range(0, len(one), rows):
        np.matmul(one[start : start + rows], other, out=found[start : start + rows])
    return found
