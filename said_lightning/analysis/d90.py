"""d90 of one series from its runs' scores, with an interval over seeds and report rows.

    estimate(points={100: {0: 0.71, 1: 0.72}, ...}, full={0: 0.84, 1: 0.85}, trivial=0.5)

The metric is taken to rise with log d. Runs that are stuck are set aside, the means of the rest
are drawn again and again with the noise of seeds and rows (said_lightning.analysis.noise), and the
crossings of the draws make the interval. numpy alone, so that it starts at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

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
from said_lightning.analysis.noise import Noise
from said_lightning.analysis.spread import Part, Spread, spread
from said_lightning.analysis.stuck import Run
from said_lightning.errors import UserError

LEVEL = 0.9  # the share of cases in which the interval is to hold the true d90
SHARE = 0.9
SHARES = (0.8, 0.85, 0.9, 0.95)

PARTS: tuple[Part, ...] = ("seeds", "rows", "between")
PART_DRAWS = 4000  # of what a width comes from, and from each source alone


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """d90 of one series: where its fitted curve crosses the threshold, and how well that is known.

    `d90` is None out of the range that was run: `below` where all points meet the threshold,
    `above` where none does. `low` and `high` are the ends of the interval, None for an open one;
    `level` is None, and both are, where no two runs differ in their seed alone.

    `parts` is the interval's width, high / low, had only seeds varied, only rows, or only the
    course of the curve between two points; infinite where that leaves an end open. `stuck` runs
    were set aside. `sensitivity` is the fitted d at other shares of full fine-tuning's metric where
    the runs reach them, `full_less` and `full_more` d90 were full fine-tuning one point (0.01)
    worse or better. `draws` are log d90, infinite out of range. `spread` is what a width is priced
    by. What takes draws is made when it is first asked for.
    """

    cells: Cells
    noise: Noise
    level: float | None
    seed: int
    wanted: int | None

    @cached_property
    def log_d90(self) -> float:
        """The log d of the crossing, infinite out of the range."""
        return at(self.cells, self.threshold)

    @property
    def d90(self) -> float | None:
        """The d of the crossing."""
        return number(self.log_d90)

    @property
    def below(self) -> bool:
        """Whether all of the fit meets the threshold."""
        return self.log_d90 == -np.inf

    @property
    def above(self) -> bool:
        """Whether none of the fit meets the threshold."""
        return self.log_d90 == np.inf

    @property
    def threshold(self) -> float:
        """The metric that d90 is to reach."""
        return self.cells.threshold

    @property
    def full(self) -> float:
        """Full fine-tuning's metric, mean over seeds."""
        return self.cells.full.mean

    @property
    def d(self) -> tuple[int, ...]:
        """The d that were run, ascending; where all runs are stuck, it is left out."""
        return self.cells.d

    @property
    def seeds(self) -> int:
        """The fewest runs at a d."""
        return int(self.cells.runs.min())

    @property
    def runs(self) -> int:
        """The number of runs of the series."""
        return int(self.cells.runs.sum())

    @property
    def stuck(self) -> tuple[Run, ...]:
        """The runs that were set aside."""
        return self.cells.stuck

    @property
    def sensitivity(self) -> dict[float, float]:
        """The fitted d at each of SHARES that the runs reach."""
        levels = {one: round(self.cells.offset + one * self.full, DIGITS) for one in SHARES}
        found = {one: number(at(self.cells, level)) for one, level in levels.items()}
        return {one: d for one, d in found.items() if d is not None}

    @property
    def full_less(self) -> float | None:
        """The d90 were full fine-tuning one point worse."""
        return self._moved(-0.01)

    @property
    def full_more(self) -> float | None:
        """The d90 were full fine-tuning one point better."""
        return self._moved(0.01)

    def _moved(self, step: float) -> float | None:
        return number(at(self.cells, round(self.threshold + self.cells.share * step, DIGITS)))

    @cached_property
    def _interval(self) -> tuple[float | None, float | None, Float[ndarray, " draws"]]:
        if self.level is None:
            return None, None, np.full(1, self.log_d90)
        return interval(self, (0.0, 0.0))

    @property
    def low(self) -> float | None:
        """The lower end of the interval."""
        return self._interval[0]

    @property
    def high(self) -> float | None:
        """The upper end of the interval."""
        return self._interval[1]

    @property
    def draws(self) -> Float[ndarray, " draws"]:
        """The log d90 of each draw."""
        return self._interval[2]

    @property
    def width(self) -> float:
        """The interval's width as a factor, infinite where an end is open."""
        return np.inf if self.low is None or self.high is None else self.high / self.low

    @cached_property
    def parts(self) -> dict[Part, float]:
        """The width of the interval from each source of noise alone; none without an interval."""
        return {} if self.level is None else widths(self)

    @cached_property
    def spread(self) -> Spread | None:
        """What the interval's width comes from; None where there is none."""
        if self.level is None:
            return None
        rng = np.random.default_rng(self.seed)
        drawn = crossings(self.cells, self.noise.draw(rng, PART_DRAWS), rng)
        return spread(self.cells, self.noise, drawn, self.level)


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
    return estimate_of(settle(points, full, share, offset, trivial), rows, level, seed, draws)


def estimate_of(
    cells: Cells,
    rows: int | None,
    level: float = LEVEL,
    seed: int = 0,
    draws: int | None = None,
) -> Estimate:
    """Estimate d90 of a series whose stuck runs are set aside; the arguments are `estimate`'s."""
    noise = noise_of([cells], rows)
    known = level if noise.measured else None
    return Estimate(cells=cells, noise=noise, level=known, seed=seed, wanted=draws)


def allowed(found: Estimate, regrets: tuple[float, float]) -> tuple[float | None, float | None]:
    """Return the ends of an estimate's interval, each rate perhaps below its best by its regret.

    A better rate of the series would make d90 smaller, one of full fine-tuning larger. The regrets
    are the series' and full fine-tuning's (said_lightning.analysis.rates).
    """
    series, top = regrets
    if found.level is None or not (series or top):
        return found.low, found.high
    return interval(found, (-series, found.cells.share * top))[:2]


def interval(
    found: Estimate, raised: tuple[float, float]
) -> tuple[float | None, float | None, Float[ndarray, " draws"]]:
    """Return the ends of the interval, and the draws of the lower one.

    The threshold may be raised for the lower end and for the upper one. Where both ends lie beyond
    the range that was run, one is the range's end. d90 itself is always inside.
    """
    assert found.level is not None
    cells = found.cells
    rng = np.random.default_rng(found.seed)

    def make(draws: int) -> Float[ndarray, "2 draws"]:
        errors = found.noise.draw(rng, draws)
        ends = [crossings(cells, errors, rng, by) for by in dict.fromkeys(raised)]
        return np.stack([ends[0], ends[-1]])

    low, high, drawn = settled(make, found.level, found.wanted)
    low, high = min(low, found.log_d90), max(high, found.log_d90)
    return number(min(low, cells.x[-1])), number(max(high, cells.x[0])), drawn[0]


def widths(found: Estimate) -> dict[Part, float]:
    """Return the width of the interval from each source of noise alone."""
    assert found.level is not None
    rng = np.random.default_rng(found.seed)
    tail = (1 - found.level) / 2
    made: dict[Part, float] = {}
    for part in PARTS:
        errors = found.noise.draw(rng, PART_DRAWS, seeds=part == "seeds", rows=part == "rows")
        drawn = crossings(found.cells, errors, rng if part == "between" else None)
        low, high = np.quantile(drawn, [tail, 1 - tail], method="nearest")
        made[part] = float(np.exp(high - low)) if high > low else 1.0
    return made


def number(x: float | np.floating) -> float | None:
    """Return the d of a log d, None for an infinite one."""
    return float(np.exp(x)) if np.isfinite(x) else None


def sensitivity(d: Mapping[float, float], less: float | None, more: float | None) -> str:
    """Return d at other shares, and d90 were full fine-tuning a point worse or better."""
    shares = [f"d{share * 100:g} {one:,.0f}" for share, one in d.items()]
    ends = ("..." if one is None else f"{one:,.0f}" for one in (less, more))
    return f"{', '.join(shares)}; full -+ 1 point: {' to '.join(ends)}"
