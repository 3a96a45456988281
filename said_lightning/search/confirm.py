"""The stage `confirm`: which d are read, with how many seeds, and what a width will cost.

Where the d lie follows from where the curve crosses the threshold and where its interval is open,
and the number of seeds from the scatter of runs that are not read: never from how narrow the
interval came out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from said_lightning.analysis.d90 import SHARE
from said_lightning.analysis.price import POINTS, expected_width, seeds_for
from said_lightning.analysis.spread import Spread
from said_lightning.analysis.stuck import unstuck
from said_lightning.search.jobs import Job, Runs
from said_lightning.search.locate import Place
from said_lightning.search.tune import Tuned

MORE = 2  # d added on a side where those that are read fall short
GAPS = (1.4, 1.6, 1.9, 2.3)  # between two d: the least of these that encloses the interval
# Of the variance over seeds, the part that is a seed's at every d, as its head and its data order
# are, and of this the part that moves full fine-tuning too.
SHARED = PAIRED = 0.5
LEAST_SLOPE = 0.02  # of the threshold, for each unit of log d

Sides = tuple[bool, bool]  # below the points that are read, and above them


@dataclass(frozen=True)
class Outlook:
    """What is expected of the runs to come, from those that are not read.

    The metric crosses the threshold at `place` and rises there by `slope` with log d. Runs scatter
    by `scatter` over seeds, of which `freedom` have shown that, and by `rows` over report rows.
    """

    place: Place
    slope: float
    scatter: float
    freedom: float
    rows: float

    def spread(self, points: Sequence[int], seeds: int) -> Spread:
        """Return what the interval's width comes from, with a number of seeds at each point.

        More runs would lie where the interval is expected.
        """
        own = self.scatter**2
        both, full = SHARE * own * SHARED * PAIRED, SHARE**2 * own
        x = np.log(np.array(points) / self.place.middle)
        found = Spread(
            run=(own * (1 - SHARED)) ** 0.5,
            shared=np.array([[own * SHARED, both], [both, full]]),
            rows=self.rows,
            slope=self.slope,
            freedom=self.freedom,
            x=x,
            seeds=np.full(len(x), float(seeds)),
            span=(float(x[0]), float(x[-1])),
        )
        half = max(float(np.log(expected_width(found, 0))) / 2, 0.05)
        # Not quite even, so that none of the further d is one that is there.
        return found._replace(span=(-half, 1.01 * half))

    def width(self, points: Sequence[int], seeds: int) -> float:
        """Return the width of the interval that is expected from the points."""
        return expected_width(self.spread(points, seeds), 0)

    def more_seeds(self, points: Sequence[int], seeds: int, width: float) -> int | None:
        """Return the seeds to add for an interval of a width; None where none are enough."""
        return seeds_for(self.spread(points, seeds), width)


def look_ahead(runs: Runs, full: Tuned, series: Tuned, place: Place, threshold: float) -> Outlook:
    """Return what is expected of the confirm runs, from those that chose the rates."""
    cells: dict[tuple[int | None, float, float], list[Job]] = {}
    for job in runs.scores:
        if job.stage != "confirm":
            cells.setdefault((job.d, job.rate, job.length), []).append(job)
    values = {
        cell: unstuck(runs.metrics(jobs), runs.trivial, full.mean) for cell, jobs in cells.items()
    }
    tuned = [one.values for one in (full, series) if len(one.values) > 1]
    variances = [float(np.var(one, ddof=1)) for one in tuned]
    near = [
        (np.log(cell[0] / place.middle), value)
        for cell, found in values.items()
        if cell[0] is not None and cell[1:] == (series.rate, series.length)
        for value in found
    ]
    return Outlook(
        place,
        slope=max(_slope(near), LEAST_SLOPE * abs(threshold)),
        scatter=fmean(variances or [0.0]) ** 0.5,
        freedom=float(max(map(len, tuned), default=2) - 1),
        rows=_row_scatter(runs, full.mean),
    )


def _slope(near: Sequence[tuple[float, float]]) -> float:
    """Return the slope of a line through points, those near 0 counting most; 0 without a line."""
    x, y = np.array(near).reshape(-1, 2).T
    if len(set(x)) < 2:
        return 0.0
    weight = 1 / (1 + x**2)
    away = x - np.average(x, weights=weight)
    return float((weight * away) @ y / ((weight * away) @ away))


def _row_scatter(runs: Runs, metric: float) -> float:
    """Return how other report rows would move the distance of curve and threshold.

    Half of the binomial variance of both lies in the rows, half of that alike; 0 where runs have no
    scores of rows.
    """
    rows = max((np.size(one) for one in runs.scores.values() if one is not None), default=1)
    share = float(np.clip(metric, 0.0, 1.0))
    return (share * (1 - share) / rows / 2) ** 0.5 if rows > 1 else 0.0


def window(outlook: Outlook, seeds: int, low: int, high: int) -> tuple[list[int], float]:
    """Return the d to read, within low and high, and the factor between two of them.

    They enclose where d90 may lie and the interval that is expected. Two of them where d90 seems
    to lie outside the range, to show that it does.
    """
    place = outlook.place
    if place.outside:
        return _around(place.middle, 2, GAPS[0], low, high), GAPS[0]
    for gap in GAPS:
        points = _around(place.middle, POINTS, gap, low, high)
        if outlook.width(points, seeds) * place.high / place.low <= gap ** (POINTS - 1):
            break
    return points, gap


def _around(middle: int, number: int, gap: float, low: int, high: int) -> list[int]:
    """Return a number of d around a middle, moved into the range, closer where it is too narrow."""
    span = min(gap ** (number - 1), high / low)
    first = np.clip(middle / span**0.5, low, high / span)
    found = np.geomspace(first, first * span, number)
    return sorted({int(np.clip(round(d), low, high)) for d in found})


def outer(points: Sequence[int], crossing: float) -> Sides:
    """Return on which sides the curve does not cross the threshold between inner points.

    The crossing is a log d, infinite where there is none.
    """
    inner = np.log([points[:2][-1], points[-2:][0]])
    return bool(crossing < inner[0]), bool(crossing > inner[1])


def beyond(points: Sequence[int], short: Sides, gap: float, low: int, high: int) -> list[int]:
    """Return further d on the sides where the points fall short."""
    found = set[int]()
    for step in range(1, MORE + 1):
        if short[0]:
            found.add(max(round(points[0] / gap**step), low))
        if short[1]:
            found.add(min(round(points[-1] * gap**step), high))
    return sorted(found - set(points))


def within(low: float, high: float) -> list[int]:
    """Return the d of further runs, evenly over the interval."""
    return sorted({round(d) for d in np.geomspace(low, high, POINTS)})
