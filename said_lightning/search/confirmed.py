"""The runs of the stage `confirm`, and what they say of d90."""

from statistics import fmean

import numpy as np

from said_lightning.analysis.d90 import SHARE, Estimate, allowed, estimate
from said_lightning.search.confirm import Sides, outer
from said_lightning.search.jobs import SEEDS, Job, Runs, Scores
from said_lightning.search.tune import Tuned


class Confirmed:
    """The runs that the answer is read from, those of full fine-tuning with d = None."""

    def __init__(self, runs: Runs, corrected: bool) -> None:
        self.runs = runs
        self.corrected = corrected
        self.jobs: list[Job] = []

    @property
    def offset(self) -> float:
        """What the threshold adds to its share of full fine-tuning."""
        return (1 - SHARE) * (self.runs.trivial or 0.0) if self.corrected else 0.0

    @property
    def d(self) -> list[int]:
        """The d of the series, ascending."""
        return sorted({job.d for job in self.jobs if job.d is not None})

    def want(self, d: int | None, seeds: range, tuned: Tuned) -> None:
        """Add the runs of one d."""
        self.jobs += [
            Job("confirm", d, tuned.rate, SEEDS["confirm"] + seed, tuned.length) for seed in seeds
        ]

    def scores(self, d: int | None) -> dict[int, Scores]:
        """Return the scores of the runs of one d that did not fail, by seed."""
        found = ((job.seed, self.runs.scores.get(job)) for job in self.jobs if job.d == d)
        return {seed: scores for seed, scores in found if scores is not None}

    def curve(self) -> dict[int, dict[int, Scores]]:
        """Return the scores of each d of which a run did not fail."""
        return {d: scores for d in self.d if (scores := self.scores(d))}

    def full(self) -> float | None:
        """Return full fine-tuning's metric, mean over seeds; None without a run of it."""
        metrics = [float(np.mean(scores)) for scores in self.scores(None).values()]
        return fmean(metrics) if metrics else None

    def estimate(self) -> Estimate | None:
        """Return d90, None where there is no run of full fine-tuning or none of the series."""
        points, top = self.curve(), self.scores(None)
        if not points or not top:
            return None
        return estimate(points, top, offset=self.offset, trivial=self.runs.trivial)

    def crossing_short(self) -> Sides:
        """Return on which sides the curve does not cross the threshold between inner points."""
        found = self.estimate()
        assert found is not None
        return outer(self.d, found.log_d90)

    def interval_short(self, regrets: tuple[float, float]) -> Sides:
        """Return which ends of d90's interval are open, where d90 itself was found."""
        found = self.estimate()
        if found is None or found.d90 is None:
            return False, False
        low, high = allowed(found, regrets)
        return low is None, high is None
