"""The curve of a series: the metric at each d, at the best of the learning rates tried there."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from said_lightning.analysis.measurements import Measurement

# Metrics are mostly quotients of counts, and rounding makes a tie a tie: 72 % against 80 % meets
# the threshold, though 0.9 * 0.8 is 0.7200000000000001.
DIGITS = 12


class Point(NamedTuple):
    """The metric at one d: the mean over `values`, one for each seed, at learning rate `lr`."""

    d: int
    mean: float
    lr: float
    values: tuple[float, ...]


def tried(done: Iterable[Measurement]) -> tuple[Point, ...]:
    """Return every (d, lr) that was tried, ascending; runs of one d, lr and seed are averaged."""
    values: dict[tuple[int, float], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in done:
        values[run.d, run.lr][run.seed].append(run.value)
    points = []
    for (d, lr), seeds in sorted(values.items()):
        means = tuple(fmean(seeds[seed]) for seed in sorted(seeds))
        points.append(Point(d, round(fmean(means), DIGITS), lr, means))
    return tuple(points)


def best(points: Sequence[Point]) -> Point:
    """Return the point at the learning rate with the best mean; of equals, at the smallest.

    A rate with less than half the seeds of the most tried one does not count: it may be lucky.
    """
    most = max(len(point.values) for point in points)
    fair = [point for point in points if 2 * len(point.values) >= most]
    return max(fair, key=lambda point: (point.mean, -point.lr))


def by_rule(point: Point) -> float:
    """Return how far a step of theta moves the weights, where the projection is an isometry."""
    return point.lr * point.d**0.5


def curve(points: Iterable[Point], step: Callable[[Point], float] = by_rule) -> tuple[Point, ...]:
    """Return the best point at each d, ascending; `step` is how far its rate moves the weights.

    Where several rates were tried at one d, another d is left out if a smaller one did better at a
    rate that was not tried at this d: its metric may be due to its rate and not to its d.
    """
    by_d: dict[int, list[Point]] = defaultdict(list)
    for point in points:
        by_d[point.d].append(point)
    several = any(len(here) > 1 for here in by_d.values())
    line: list[Point] = []

    def same_rate(one: Point, other: Point) -> bool:
        return one.lr == other.lr or math.isclose(step(one), step(other), rel_tol=1e-2)

    for d in sorted(by_d):
        point = best(by_d[d])
        better = [one for one in line if several and one.mean > point.mean]
        if all(any(same_rate(one, here) for here in by_d[d]) for one in better):
            line.append(point)
    return tuple(line)
