"""The cells of a series: its runs by d, what is stuck set aside, and where they cross a level."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.random import Generator

from said_lightning.analysis.crossing import crossing
from said_lightning.analysis.noise import Cell, Group, Noise, Scores, cell
from said_lightning.analysis.stuck import Run, stuck_runs

# Metrics are mostly quotients of counts, and rounding makes a tie a tie: 72 % against 80 % meets
# the threshold, though 0.9 * 0.8 is 0.7200000000000001.
DIGITS = 12
CHANCE = 0.02  # of runs of two d being in one order by chance
LEAST_GAP = 1.4  # between two d that are proposed

Points = Mapping[int, Mapping[int, Scores]]
Full = Mapping[int, Scores]


@dataclass(frozen=True, eq=False)
class Cells:
    """What is left of a series once its stuck runs are set aside."""

    x: Float[ndarray, " points"]
    curve: tuple[Cell, ...]
    full: Cell
    stuck: tuple[Run, ...]
    share: float
    offset: float

    @cached_property
    def threshold(self) -> float:
        """The metric that d90 is to reach."""
        return round(self.offset + self.share * self.full.mean, DIGITS)

    @property
    def d(self) -> tuple[int, ...]:
        """The d of each point, ascending."""
        return tuple(round(d) for d in np.exp(self.x))

    @property
    def met(self) -> tuple[bool, ...]:
        """Whether the mean of each point meets the threshold."""
        return tuple(bool(mean >= self.threshold) for mean in self.means.round(DIGITS))

    @cached_property
    def means(self) -> Float[ndarray, " points"]:
        """The mean of each point."""
        return np.array([one.mean for one in self.curve])

    @cached_property
    def runs(self) -> Float[ndarray, " points"]:
        """The number of runs at each point."""
        return np.array([len(one.seeds) for one in self.curve], dtype=float)


def validate_scores(points: Points, full: Full) -> list[str]:
    """Return what is wrong with the scores of a series; empty where nothing is."""
    messages = []
    if not points or not all(points.values()):
        messages.append("points: expected scores of one run at least for each d")
    if not full:
        messages.append("full: expected scores of one run of full fine-tuning at least")
    every = [one for runs in [*points.values(), full] for one in runs.values()]
    lengths = {np.shape(one) for one in every}
    if len(lengths) > 1:
        found = ", ".join(sorted(str(one[0]) if one else "a metric" for one in lengths))
        messages.append(
            "scores: expected a metric for every run, or equally many row scores for every run; "
            f"found {found}"
        )
    if not all(np.isfinite(one).all() for one in every):
        messages.append("scores: expected finite numbers; leave failed runs out")
    return messages


def settle(points: Points, full: Full, share: float, offset: float, trivial: float | None) -> Cells:
    """Return the cells of a series, its stuck runs set aside."""
    curve = {d: cell(points[d]) for d in sorted(points)}
    top = cell(full)
    stuck: list[Run] = []
    if trivial is not None:
        every = [*curve.items(), (None, top)]
        values = {d: dict(zip(one.seeds, one.values, strict=True)) for d, one in every}
        level = offset + share * float(np.median(top.values))
        stuck = stuck_runs(values, trivial, level)
        if sum(run.d is None for run in stuck) == len(top.seeds):
            # Where all of full fine-tuning is there, no better is known.
            stuck = [run for run in stuck if run.d is not None]
    left = {d: _without(one, d, stuck) for d, one in curve.items()}
    left = {d: one for d, one in left.items() if one.seeds}
    return Cells(
        np.log(np.array(list(left), dtype=float)),
        tuple(left.values()),
        _without(top, None, stuck),
        tuple(stuck),
        share,
        offset,
    )


def fallen(points: Points, threshold: float) -> tuple[int, int] | None:
    """Return two d of which the larger has the smaller metric, and not by chance; None without.

    Its mean is below the threshold, and by their ranks (Mann and Whitney 1947) runs come in such an
    order by chance in a share CHANCE of cases at most. Of several pairs, the one that falls most.
    """
    values = {d: cell(points[d]).values for d in sorted(points)}
    means = {d: float(one.mean()) for d, one in values.items()}
    found = [
        (means[small] - means[large], (small, large))
        for small, large in combinations(values, 2)
        if means[large] < min(means[small], threshold)
        and _chance(values[large], values[small]) <= CHANCE
    ]
    return max(found)[1] if found else None


def _chance(lower: Float[ndarray, " first"], upper: Float[ndarray, " second"]) -> float:
    """Return the share of orders of the runs in which `lower` wins no more often than it does."""
    gaps = lower[:, None] - upper[None]
    wins = int(np.ceil((gaps > 0).sum() + (gaps == 0).sum() / 2))
    return float(_orders(len(lower), len(upper))[: wins + 1].sum())


@cache
def _orders(lower: int, upper: int) -> Float[ndarray, " wins"]:
    """Return how probable each number of wins of one kind over another is, by chance."""
    found = [np.ones(1)] * (upper + 1)
    for ones in range(1, lower + 1):
        fewer, found = found, [np.ones(1)]
        for others in range(1, upper + 1):
            # The largest of all is of the one, and wins over every other, or is of the other.
            share = ones / (ones + others)
            both = np.zeros(ones * others + 1)
            both[others:] += share * fewer[others]
            both[: len(found[-1])] += (1 - share) * found[-1]
            found.append(both)
    return found[-1]


def falls(points: Points, threshold: float) -> list[str]:
    """Return a note where more numbers give a smaller metric, so that the rate is in doubt."""
    if (pair := fallen(points, threshold)) is None:
        return []
    small, large = pair
    return [
        f"the metric falls from d = {small:,} to d = {large:,}: the rate may be too large there, "
        "and d90 smaller than it seems"
    ]


def open_ends(grid: Sequence[int], interval: tuple[int | None, int | None]) -> Iterator[str]:
    """Yield a note on each open end of d90's interval: the d that may close it."""
    gap = max((grid[-1] / grid[0]) ** (1 / max(len(grid) - 1, 1)), LEAST_GAP)
    sides = (("below", "smaller", grid[0], 1 / gap), ("above", "larger", grid[-1], gap))
    for end, (where, other, edge, step) in zip(interval, sides, strict=True):
        more = sorted({max(1, round(edge * by)) for by in (step, step**2)} - {edge})
        if end is None and more:
            yield (
                f"the interval is open {where}, where no d {other} than {edge:,} was run: "
                f"d={','.join(map(str, more))} may close it"
            )


def noise_of(series: Sequence[Cells], rows: int | None) -> Noise:
    """Return the joint noise of curves and full fine-tuning, what two series share but once."""
    curves = [Group(one.curve, _near(one)) for one in series]
    tops: list[Cell] = []
    for one in series:
        if not any(one.full is top for top in tops):
            tops.append(one.full)
    return Noise(curves, [Group((top,), np.ones(1)) for top in tops], rows)


def _near(cells: Cells) -> Float[ndarray, " points"]:
    """Return how much each point counts for the seeds' noise: those near the crossing most."""
    number = len(cells.x)
    met = cells.means >= cells.threshold
    between = np.flatnonzero(met)[0] - 0.5 if met.any() else number - 0.5
    return 1 / (1 + ((np.arange(number) - between) / 2) ** 2)


def at(cells: Cells, threshold: float) -> float:
    """Return the log d at which the fit crosses a threshold, infinite out of the range."""
    means = cells.means.round(DIGITS)[None]
    return float(crossing(cells.x, means, cells.runs, np.array([threshold]))[0])


def crossings(
    cells: Cells,
    errors: Float[ndarray, "draws cells"],
    bends: Generator | None,
    raised: float = 0.0,
) -> Float[ndarray, " draws"]:
    """Return the log d of each draw's crossing; the last error is full fine-tuning's.

    The threshold may be `raised`.
    """
    levels = cells.threshold + raised + cells.share * errors[:, -1]
    return crossing(cells.x, cells.means + errors[:, :-1], cells.runs, levels, bends)


def _without(one: Cell, d: int | None, stuck: Sequence[Run]) -> Cell:
    """Return the runs of a cell that are not stuck."""
    kept = [i for i, seed in enumerate(one.seeds) if Run(d, seed) not in stuck]
    if len(kept) == len(one.seeds):
        return one
    rows = None if one.rows is None else one.rows[kept]
    return Cell(tuple(one.seeds[i] for i in kept), one.values[kept], rows)
