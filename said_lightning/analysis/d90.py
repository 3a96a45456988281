"""d90 of one series from its runs' scores, with an interval over seeds and report rows.

    estimate(points={100: {0: 0.71, 1: 0.72}, ...}, full={0: 0.84, 1: 0.85}, trivial=0.5)

The metric is taken to rise with log d. Runs that are stuck are set aside, the means of the rest
are drawn again and again with the noise of seeds and rows (said_lightning.analysis.noise), and the
crossings of the draws make the interval. numpy alone, so that it starts at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.random import Generator

from said_lightning.analysis.crossing import crossing
from said_lightning.analysis.noise import Cell, Group, Noise, Scores, cell
from said_lightning.analysis.price import Spread
from said_lightning.analysis.stuck import Run, stuck_runs
from said_lightning.errors import UserError

LEVEL = 0.9  # the share of cases in which the interval is to hold the true d90
SHARE = 0.9
SHARES = (0.8, 0.85, 0.9, 0.95)
DRAWS = 20_000  # so that another seed of the bootstrap moves no end by more than 3 %
DIGITS = 12  # rounding makes a tie a tie: 0.9 * 0.8 is 0.7200000000000001

Points = Mapping[int, Mapping[int, Scores]]
Full = Mapping[int, Scores]
Part = Literal["seeds", "rows", "between"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Estimate:
    """d90 of one series: where its fitted curve crosses the threshold, and how well that is known.

    `d90` is None out of the range that was run: `below` where all points meet the threshold,
    `above` where none does. `low` and `high` are the ends of the interval, None for an open one;
    `level` is None, and both are, where no two runs differ in their seed alone.

    `parts` is the interval's width, high / low, had only seeds varied, only rows, or only the
    course of the curve between two points. `stuck` runs were set aside. `sensitivity` is the
    fitted d at other shares of full fine-tuning's metric where the runs reach them, `full_less`
    and `full_more` d90 were full fine-tuning one point (0.01) worse or better. `draws` are log d90,
    infinite out of range. `spread` is what a width is priced by.
    """

    d90: float | None
    low: float | None
    high: float | None
    level: float | None
    below: bool
    above: bool
    threshold: float
    full: float
    share: float
    offset: float
    d: tuple[int, ...]
    seeds: int
    runs: int
    parts: Mapping[Part, float]
    stuck: tuple[Run, ...]
    sensitivity: Mapping[float, float]
    full_less: float | None
    full_more: float | None
    draws: Float[ndarray, " draws"]
    spread: Spread | None

    @property
    def width(self) -> float:
        """The interval's width as a factor, infinite where an end is open."""
        return np.inf if self.low is None or self.high is None else self.high / self.low


class Cells(NamedTuple):
    """What is left of a series once its stuck runs are set aside."""

    x: Float[ndarray, " points"]
    curve: tuple[Cell, ...]
    full: Cell
    stuck: tuple[Run, ...]

    @property
    def means(self) -> Float[ndarray, " points"]:
        """The mean of each point."""
        return np.array([one.mean for one in self.curve])

    @property
    def runs(self) -> Float[ndarray, " points"]:
        """The number of runs at each point."""
        return np.array([len(one.seeds) for one in self.curve], dtype=float)


def estimate(
    points: Points,
    full: Full,
    share: float = SHARE,
    offset: float = 0.0,
    trivial: float | None = None,
    rows: int | None = None,
    level: float = LEVEL,
    seed: int = 0,
    draws: int = DRAWS,
) -> Estimate:
    """Estimate d90 of one series.

    Args:
        points: d -> seed -> scores of a run that nothing was chosen on, at the series' rate.
        full: seed -> scores of full fine-tuning. Runs of one seed are paired with it.
        share, offset: the threshold is `offset` + `share` of full fine-tuning's mean metric.
        trivial: the metric of a model that learnt nothing, by which stuck runs are recognised.
        rows: the number of report rows, where scores are plain metrics that are shares of rows.
        level: the share of cases in which the interval is to hold the true d90.
        seed: of the draws.
        draws: their number.

    Scores are a run's metric, or an array with a score for each report row, whose mean it is.
    Raise UserError where scores are missing or differ in kind.
    """
    if messages := validate_scores(points, full):
        raise UserError(*messages)
    cells = settle(points, full, share, offset, trivial)
    whole = cells.full.mean
    threshold = round(offset + share * whole, DIGITS)
    found = at(cells, threshold)
    rng = np.random.default_rng(seed)
    noise = Noise(groups([cells], [threshold]), rows)
    drawn = np.full(draws, found)
    if noise.measured:
        errors = noise.draw(rng, draws)
        drawn = crossings(cells, errors, threshold, share, rng)
    low, high = ends(drawn, level) if noise.measured else (None, None)
    reached = {one: at(cells, round(offset + one * whole, DIGITS)) for one in SHARES}
    less, more = (at(cells, round(threshold + share * step, DIGITS)) for step in (-0.01, 0.01))
    return Estimate(
        d90=_number(found),
        low=low,
        high=high,
        level=level if noise.measured else None,
        below=found == -np.inf,
        above=found == np.inf,
        threshold=threshold,
        full=whole,
        share=share,
        offset=offset,
        d=tuple(round(d) for d in np.exp(cells.x)),
        seeds=int(cells.runs.min()),
        runs=int(cells.runs.sum()),
        parts=_parts(cells, noise, threshold, share, level, seed) if noise.measured else {},
        stuck=cells.stuck,
        sensitivity={one: float(np.exp(x)) for one, x in reached.items() if np.isfinite(x)},
        full_less=_number(less),
        full_more=_number(more),
        draws=drawn,
        spread=_spread(cells, noise, threshold, share, drawn, level) if noise.measured else None,
    )


def validate_scores(points: Points, full: Full) -> list[str]:
    """Return what is wrong with the scores of a series; empty where nothing is."""
    messages = []
    if not points or not all(points.values()):
        messages.append("points: expected scores of one run at least for each d")
    if not full:
        messages.append("full: expected scores of one run of full fine-tuning at least")
    every = [one for runs in [*points.values(), full] for one in runs.values()]
    lengths = {None if isinstance(one, float) else len(one) for one in every}
    if len(lengths) > 1:
        messages.append(
            "scores: expected a metric for every run, or as many row scores for every run; "
            f"found {sorted(map(str, lengths))} rows"
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
        values = {d: dict(zip(one.seeds, one.values, strict=True)) for d, one in curve.items()}
        whole = dict(zip(top.seeds, top.values, strict=True))
        level = offset + share * float(np.median(top.values))
        stuck = stuck_runs({**values, None: whole}, trivial, level)
    left = {d: _without(one, d, stuck) for d, one in curve.items()}
    left = {d: one for d, one in left.items() if one.seeds}
    return Cells(
        np.log(np.array(list(left), dtype=float)),
        tuple(left.values()),
        _without(top, None, stuck),
        tuple(stuck),
    )


def groups(series: Sequence[Cells], thresholds: Sequence[float]) -> list[Group]:
    """Return the curves and then full fine-tuning of each, what two series share but once."""
    found = [
        Group(one.curve, _near(one, threshold))
        for one, threshold in zip(series, thresholds, strict=True)
    ]
    tops: list[Cell] = []
    for one in series:
        if not any(one.full is top for top in tops):
            tops.append(one.full)
    return [*found, *(Group((top,), np.ones(1)) for top in tops)]


def _near(cells: Cells, threshold: float) -> Float[ndarray, " points"]:
    """Return how much each point counts for the seeds' noise: those near the crossing most."""
    number = len(cells.x)
    met = cells.means >= threshold
    between = np.flatnonzero(met)[0] - 0.5 if met.any() else number - 0.5
    return 1 / (1 + ((np.arange(number) - between) / 2) ** 2)


def at(cells: Cells, threshold: float) -> float:
    """Return the log d at which the fit crosses a threshold, infinite out of the range."""
    means = cells.means.round(DIGITS)[None]
    return float(crossing(cells.x, means, cells.runs, np.array([threshold]))[0])


def crossings(
    cells: Cells,
    errors: Float[ndarray, "draws cells"],
    threshold: float,
    share: float,
    bends: Generator | None,
) -> Float[ndarray, " draws"]:
    """Return the log d of each draw's crossing; the last error is full fine-tuning's."""
    levels = threshold + share * errors[:, -1]
    return crossing(cells.x, cells.means + errors[:, :-1], cells.runs, levels, bends)


def ends(drawn: Float[ndarray, " draws"], level: float) -> tuple[float | None, float | None]:
    """Return the ends of the draws' middle, None for an open one."""
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], method="nearest")
    return _number(low), _number(high)


def _parts(
    cells: Cells, noise: Noise, threshold: float, share: float, level: float, seed: int
) -> dict[Part, float]:
    """Return the width of the interval from each source of noise alone."""
    rng = np.random.default_rng(seed)
    number = 4000
    widths: dict[Part, float] = {}
    for part in ("seeds", "rows", "between"):
        errors = noise.draw(rng, number, seeds=part == "seeds", rows=part == "rows")
        bends = rng if part == "between" else None
        drawn = crossings(cells, errors, threshold, share, bends)
        low, high = ends(drawn, level)
        widths[part] = np.inf if low is None or high is None else high / low
    return widths


def _spread(
    cells: Cells,
    noise: Noise,
    threshold: float,
    share: float,
    drawn: Float[ndarray, " draws"],
    level: float,
) -> Spread:
    """Return what the interval's width comes from."""
    tail = (1 - level) / 2
    low, middle, high = (
        float(np.clip(end, cells.x[0], cells.x[-1]))
        for end in np.quantile(drawn, [tail, 0.5, 1 - tail], method="nearest")
    )
    near = noise.weights(0)
    contrast = near - share * noise.weights(1)
    toward = np.diag([1.0, share])
    # The slope over as much of the curve as the noise leaves open.
    step = 2 * float(np.sqrt(noise.variance(contrast)))
    reach = [np.clip(at(cells, threshold + by), cells.x[0], cells.x[-1]) for by in (-step, step)]
    heights = np.interp(reach, cells.x, np.maximum.accumulate(cells.means))
    slope = float(np.diff(heights)[0] / max(np.diff(reach)[0], 1e-3))
    return Spread(
        run=float(np.sqrt(noise.own[0])),
        shared=toward @ noise.shared @ toward,
        rows=float(np.sqrt(max(contrast @ noise.row_covariance @ contrast, 0.0))),
        slope=slope,
        freedom=noise.freedom,
        x=cells.x - middle,
        seeds=cells.runs,
        span=(low - middle, high - middle),
    )


def _without(one: Cell, d: int | None, stuck: Sequence[Run]) -> Cell:
    """Return the runs of a cell that are not stuck."""
    kept = [i for i, seed in enumerate(one.seeds) if Run(d, seed) not in stuck]
    if len(kept) == len(one.seeds):
        return one
    rows = None if one.rows is None else one.rows[kept]
    return Cell(tuple(one.seeds[i] for i in kept), one.values[kept], rows)


def _number(x: float | np.floating) -> float | None:
    return float(np.exp(x)) if np.isfinite(x) else None
