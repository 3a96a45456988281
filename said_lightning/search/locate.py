"""The stage `locate`: about where d90 lies, from few runs with one seed.

Whether a run at d meets the threshold is a coin whose odds rise with log d, as in the measurement
of a threshold of perception, and runs are placed as there (QUEST, Watson and Pelli 1983): at
quantiles of the posterior of the d at which the odds are even. None of these runs is reported.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from said_lightning.analysis.stuck import stuck_runs
from said_lightning.search.jobs import SEEDS, Job, Runs, Steps
from said_lightning.search.tune import Tuned

STEP = 10 ** (4 / 63)  # between two d of the paper's grid, floor(logspace(2, 6, 64))
# A run may end once it is this share above the threshold: how far beyond it would come does not
# matter, and the threshold itself is only known to the seeds of full fine-tuning.
SLACK = 0.03
LAPSE = 0.02  # runs that end on the wrong side whatever their d
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # from odds of 1:5 to even, in grid steps
MOST = 12  # runs of one call

Nearest = Callable[[int], int]


@dataclass(frozen=True)
class Place:
    """Where d90 lies: the middle of the posterior and the ends of its middle 80 %, in d.

    outside: below or above the whole range, by the run at its end.
    """

    low: int
    middle: int
    high: int
    outside: bool


class Grid:
    """The d of the paper's grid between two ends, both of them on it.

    `nearest` gives the d that a series can have for one that it may not have.
    """

    def __init__(self, low: int, high: int, nearest: Nearest = int) -> None:
        steps = round(np.log(high / low) / np.log(STEP))
        found = np.geomspace(low, high, max(steps, 1) + 1)
        self.d = sorted({nearest(int(d + 1e-9)) for d in found})

    def at(self, place: int) -> int:
        """Return the d at a place, the last of the grid for all beyond."""
        return self.d[min(max(place, 0), len(self.d) - 1)]

    def posterior(self, runs: Runs, tuned: Tuned, threshold: float) -> Float[ndarray, " places"]:
        """Return the probability that d90 lies just below each d of the grid, or above the last."""
        place = np.arange(len(self.d) + 1) - 0.5
        logs = np.zeros((len(WIDTHS), len(place)))
        for d, metric in evidence(runs, tuned, threshold):
            met = metric >= threshold
            away = (self.d.index(d) - place) / np.array(WIDTHS)[:, None]
            odds = LAPSE + (1 - 2 * LAPSE) / (1 + np.exp(np.clip(-1.7 * away, -60, 60)))
            logs += np.log(odds if met else 1 - odds)
        weights = np.exp(logs - logs.max()).sum(0)
        return weights / weights.sum()


def evidence(runs: Runs, tuned: Tuned, threshold: float) -> list[tuple[int, float]]:
    """Return d and metric of the runs that bear on where d90 lies.

    A failure at another rate is no evidence; a success at any rate is. Nor is a run that got stuck
    though another with as few numbers to train did not.
    """
    found = []
    for job in runs.scores:
        metric = runs.metric(job)
        if job.stage == "locate" and job.d is not None and metric is not None:
            same = (job.rate, job.length) == (tuned.rate, tuned.length)
            if same or metric >= threshold:
                found.append((job.d, metric))
    if runs.trivial is None:
        return found
    stuck = stuck_runs({d: {0: metric} for d, metric in found}, runs.trivial, threshold)
    return [one for one in found if (one[0], 0) not in stuck]


def locate(
    runs: Runs, grid: Grid, tuned: Tuned, threshold: float, *, batch: int, width: int, spare: int
) -> Steps[Place | None]:
    """Make runs until the posterior's middle 80 % is at most `width` grid steps wide.

    `spare` runs of the budget are left for what comes after. Each d has one run at a rate, so
    that the search also ends where none is left that would say more.

    Returns:
        Where d90 lies, None where every run failed.
    """
    made: list[Job] = []
    while True:
        weight = grid.posterior(runs, tuned, threshold).cumsum()
        low, middle, high = (int(one) for one in np.searchsorted(weight, (0.1, 0.5, 0.9)))
        if made and not runs.metrics(made):
            return None
        places = [int(one) for one in np.searchsorted(weight, _quantiles(batch))]
        if high - low <= width:
            # Narrow at an end of the range, where the end itself says whether d90 lies within.
            places = [end for end in (0, len(grid.d)) if low <= end <= high]
        jobs = _next(runs, grid, tuned, threshold, places)
        room = min(batch, MOST - len(made), runs.left - spare)
        if room <= 0 or not jobs:
            met = {d: metric >= threshold for d, metric in evidence(runs, tuned, threshold)}
            outside = met.get(grid.d[0], False) or not met.get(grid.d[-1], True)
            return Place(grid.at(low), grid.at(middle), grid.at(high), outside)
        yield from runs.make(jobs[:room])
        made += jobs[:room]


def _quantiles(batch: int) -> Float[ndarray, " batch"]:
    return (np.arange(batch) + 0.5) / batch


def _next(
    runs: Runs, grid: Grid, tuned: Tuned, threshold: float, places: Sequence[int]
) -> list[Job]:
    """Return a job at each place whose d has none yet."""
    stop_at = threshold + SLACK * abs(threshold)
    jobs = dict.fromkeys(
        Job("locate", grid.at(place), tuned.rate, SEEDS["locate"], tuned.length, stop_at)
        for place in places
    )
    return [job for job in jobs if job not in runs.scores]
