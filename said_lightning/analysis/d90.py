"""d90 of one series from its runs' scores, with an interval over seeds and report rows.

    estimate(points={100: {0: 0.71, 1: 0.72}, ...}, full={0: 0.84, 1: 0.85}, trivial=0.5)

The metric is taken to rise with log d. Runs that are stuck are set aside, the means of the rest
are drawn again and again with the noise of seeds and rows (said_lightning.analysis.noise), and the
crossings of the draws make the interval. numpy alone, so that it starts at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from said_lightning.analysis.cells import (
    DIGITS,
    Cells,
    Full,
    Points,
    at,
    crossings,
    noise_of,
    settle,
    validate_scores,
)
from said_lightning.analysis.crossing import settled
from said_lightning.analysis.noise import Noise, Scores
from said_lightning.analysis.spread import Spread, spread
from said_lightning.analysis.stuck import Run
from said_lightning.errors import UserError

LEVEL = 0.9  # the share of cases in which the interval is to hold the true d90
SHARE = 0.9
SHARES = (0.8, 0.85, 0.9, 0.95)

Part = Literal["seeds", "rows", "between"]
PARTS: tuple[Part, ...] = ("seeds", "rows", "between")
PART_DRAWS = 4000  # of the width from each source alone


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


def estimate(
    points: Points,
    full: Full,
    share: float = SHARE,
    offset: float = 0.0,
    trivial: float | None = None,
    rows: int | None = None,
    level: float = LEVEL,
    seed: int = 0,
    draws: int | None = None,
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
        draws: their number; by default as many as it takes for the ends to stay where they are.

    Scores are a run's metric, or an array with a score for each report row, whose mean it is.
    Raise UserError where scores are missing or differ in kind.
    """
    if messages := validate_scores(points, full):
        raise UserError(*messages)
    cells = settle(points, full, share, offset, trivial)
    threshold, whole = cells.threshold, cells.full.mean
    found = at(cells, threshold)
    reached = {one: at(cells, round(offset + one * whole, DIGITS)) for one in SHARES}
    less, more = (at(cells, round(threshold + share * step, DIGITS)) for step in (-0.01, 0.01))
    interval = _interval(cells, noise_of([cells], rows), level, seed, draws)
    return Estimate(
        d90=number(found),
        below=found == -np.inf,
        above=found == np.inf,
        threshold=threshold,
        full=whole,
        share=share,
        offset=offset,
        d=tuple(round(d) for d in np.exp(cells.x)),
        seeds=int(cells.runs.min()),
        runs=int(cells.runs.sum()),
        stuck=cells.stuck,
        sensitivity={one: float(np.exp(x)) for one, x in reached.items() if np.isfinite(x)},
        full_less=number(less),
        full_more=number(more),
        **interval._asdict(),
    )


def allowed(
    found: Estimate, points: Points, full: Full, regrets: tuple[float, float], **options: Any
) -> tuple[float | None, float | None]:
    """Return the ends of an estimate's interval, each rate perhaps below its best by its regret.

    A better rate of the series would make d90 smaller, one of full fine-tuning larger. The regrets
    are the series' and full fine-tuning's (said_lightning.analysis.rates), and the options those
    of `estimate` that `found` was made with.
    """
    series, top = regrets
    low, high = found.low, found.high
    if series:
        low = estimate(
            {d: _raised(runs, series) for d, runs in points.items()}, full, **options
        ).low
    if top:
        high = estimate(points, _raised(full, top), **options).high
    return low, high


def _raised(runs: Full, by: float) -> dict[int, Scores]:
    return {seed: scores + by for seed, scores in runs.items()}


class Interval(NamedTuple):
    """What `Estimate` says of the interval under the same names."""

    low: float | None
    high: float | None
    level: float | None
    parts: Mapping[Part, float]
    draws: Float[ndarray, " draws"]
    spread: Spread | None


def _interval(cells: Cells, noise: Noise, level: float, seed: int, draws: int | None) -> Interval:
    """Return the interval; where both ends lie beyond the range, one is the range's end."""
    if not noise.measured:
        return Interval(None, None, None, {}, np.full(1, at(cells, cells.threshold)), None)
    rng = np.random.default_rng(seed)

    def make(number: int) -> Float[ndarray, "2 draws"]:
        return np.tile(crossings(cells, noise.draw(rng, number), rng), (2, 1))

    low, high, (drawn, _) = settled(make, level, draws)
    ends = number(min(low, cells.x[-1])), number(max(high, cells.x[0]))
    parts = _parts(cells, noise, level, seed)
    return Interval(*ends, level, parts, drawn, spread(cells, noise, drawn, level))


def _parts(cells: Cells, noise: Noise, level: float, seed: int) -> dict[Part, float]:
    """Return the width of the interval from each source of noise alone."""
    rng = np.random.default_rng(seed)
    tail = (1 - level) / 2
    widths: dict[Part, float] = {}
    for part in PARTS:
        errors = noise.draw(rng, PART_DRAWS, seeds=part == "seeds", rows=part == "rows")
        drawn = crossings(cells, errors, rng if part == "between" else None)
        low, high = np.quantile(drawn, [tail, 1 - tail], method="nearest")
        widths[part] = float(np.exp(high - low)) if high > low else 1.0
    return widths


def number(x: float | np.floating) -> float | None:
    """Return the d of a log d, None for an infinite one."""
    return float(np.exp(x)) if np.isfinite(x) else None
