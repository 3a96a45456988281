"""The search for the d90 of one series: ask for runs, observe how they ended.

Whether a run at d meets the threshold is a coin whose odds rise with log d, as in the measurement
of a threshold of perception, and runs are placed as there (QUEST, Watson and Pelli 1983): at
quantiles of the posterior of the d at which the odds are even. d90 itself is then read from all
runs by said_lightning.analysis, as it is from a grid.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from said_lightning.analysis.interval import Fit, Levels, fit
from said_lightning.analysis.rates import Point, curve
from said_lightning.analysis.reading import SHARE

STEP = 10 ** (4 / 63)  # between two d of the paper's grid, floor(logspace(2, 6, 64))
# A run ends once it is this share above the threshold: how far beyond it would come does not
# matter, and the threshold itself is only known to the seeds of full fine-tuning.
SLACK = 0.03
LAPSE = 0.02  # runs that end on the wrong side whatever their d
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # from odds of 1:5 to even, in grid steps
SEEDS_OF_RATES = 2
NEAR = 8  # grid steps; rates are compared once the posterior's middle 80 % is that narrow


class Job(NamedTuple):
    """A run to make: d, the learning rate as a factor on the rule's, and the seed."""

    d: int
    rate: float
    seed: int


class Result(NamedTuple):
    """The metric of a job that has ended, None where it failed."""

    job: Job
    value: float | None


@dataclass
class SeriesSearch:
    """The search for the d90 of one series between `low` and `high`.

    Args:
        full: the metric of full fine-tuning, one for each seed.
        low, high: the range of d, both searched.
        rates: learning rates to choose from, as factors on the rule's, which falls with sqrt(d);
            the first is tried first.
        budget: runs at most, failed ones counted.
        tolerance: the search is over when the 90 % interval's ends differ by no more than this
            factor.
        batch: runs to ask for at once.
        offset: what the threshold adds to 0.9 of full: 0, or 0.1 of chance's score for d90
            corrected for chance.
    """

    full: Sequence[float]
    low: int
    high: int
    rates: Sequence[float] = (1.0,)
    budget: int = 38
    tolerance: float = 1.16
    batch: int = 4
    offset: float = 0.0
    results: list[Result] = field(default_factory=list)

    def __post_init__(self) -> None:
        steps = round(np.log(self.high / self.low) / np.log(STEP))
        grid = np.geomspace(self.low, self.high, max(steps, 1) + 1)
        self.grid = sorted({int(d + 1e-9) for d in grid})
        self.rate = self.rates[0]
        self._trial: int | None = None

    @property
    def threshold(self) -> float:
        """What a run has to meet."""
        return SHARE * fmean(self.full) + self.offset

    @property
    def stop_at(self) -> float:
        """The metric at which a run may end."""
        return self.threshold + self.slack

    @property
    def slack(self) -> float:
        """How far above the threshold a run ends."""
        return SLACK * abs(self.threshold)

    def observe(self, job: Job, value: float | None) -> None:
        """Add the metric of a job; None for one that failed, which is not asked for again."""
        self.results.append(Result(job, value))

    def ask(self) -> list[Job]:
        """Return the next jobs, to be run in any order; none where the search is over."""
        left = self.budget - len(self.results)
        if left <= 0 or self.narrow() or self.out_of_range() or self.hopeless():
            return []
        if jobs := self._rates_to_try():
            return jobs[:left]
        posterior = self.posterior()
        share = (np.arange(self.batch) + 0.5) / self.batch
        places = np.searchsorted(posterior.cumsum(), share)
        asked: Counter[int] = Counter()
        jobs = []
        for place in places[:left]:
            d = self._d(int(place))
            jobs.append(Job(d, self.rate, self._next_seed(d, self.rate) + asked[d]))
            asked[d] += 1
        return jobs

    def narrow(self) -> bool:
        """Return whether the interval is within the tolerance."""
        interval = self.fit().interval
        if interval is None or interval[0] is None or interval[1] is None:
            return False
        return interval[1] <= self.tolerance * interval[0]

    def out_of_range(self) -> bool:
        """Return whether d90 lies below or above the whole range."""
        posterior = self.posterior()
        return bool(max(posterior[0], posterior[-1]) > 1 - LAPSE)

    def hopeless(self) -> bool:
        """Return whether a whole batch of runs was made, and all failed."""
        return len(self.results) >= self.batch and all(value is None for _, value in self.results)

    def fit(self) -> Fit:
        """Estimate d90 from the results so far."""
        values: dict[tuple[int, float], list[float]] = {}
        for job, value in self.results:
            if value is not None:
                values.setdefault((job.d, job.rate), []).append(value)
        points = [
            Point(d, fmean(found), rate / d**0.5, tuple(found))
            for (d, rate), found in sorted(values.items())
        ]
        if not points:
            return Fit(None, None)
        line = [(point.d, point.values) for point in curve(points)]
        return fit(line, self.full, Levels(SHARE, self.offset), cut=self.slack)

    def posterior(self) -> Float[ndarray, " places"]:
        """Return the probability that d90 lies just below each d of the grid, or above the last."""
        place = np.arange(len(self.grid) + 1) - 0.5
        logs = np.zeros((len(WIDTHS), len(place)))
        for job, value in self.results:
            met = value is not None and value >= self.threshold
            # A failure at another rate is no evidence; a success at any rate is.
            if value is None or (job.rate != self.rate and not met):
                continue
            away = (self.grid.index(job.d) - place) / np.array(WIDTHS)[:, None]
            odds = LAPSE + (1 - 2 * LAPSE) / (1 + np.exp(np.clip(-1.7 * away, -60, 60)))
            logs += np.log(odds if met else 1 - odds)
        weights = np.exp(logs - logs.max()).sum(0)
        return weights / weights.sum()

    def _d(self, place: int) -> int:
        return self.grid[min(place, len(self.grid) - 1)]

    def _next_seed(self, d: int, rate: float) -> int:
        return sum(job.d == d and job.rate == rate for job, _ in self.results)

    def _rates_to_try(self) -> list[Job]:
        """Return runs of several rates at one d just below d90, once that is known roughly.

        Every rate runs with a few seeds, and then the best two with as many more.
        """
        if len(self.rates) == 1 or not self.results:
            return []
        if self._trial is None:
            below, above = np.searchsorted(self.posterior().cumsum(), (0.1, 0.9))
            if above - below > NEAR:
                return []
            self._trial = self._d(int(below))
        rates = list(self.rates)
        for seeds in (SEEDS_OF_RATES, 2 * SEEDS_OF_RATES):
            made = {job for job, _ in self.results}
            jobs = [Job(self._trial, rate, seed) for seed in range(seeds) for rate in rates]
            if missing := [job for job in jobs if job not in made]:
                return missing
            rates = self._ranked(rates)[:2]
        self.rate = self._ranked(rates)[0]
        return []

    def _ranked(self, rates: Sequence[float]) -> list[float]:
        """Sort rates by their mean where all were tried, the best first; failed runs are worst."""
        values = {
            rate: [
                value if value is not None else -np.inf
                for job, value in self.results
                if (job.d, job.rate) == (self._trial, rate)
            ]
            for rate in rates
        }
        return sorted(rates, key=lambda rate: -float(np.mean(values[rate])))
