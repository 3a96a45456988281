"""The rate and the epochs of a series: chosen on select rows, once for all its d."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np

from said_lightning.analysis.measurements import Measurement, Setting
from said_lightning.analysis.stuck import unstuck

# Metrics are mostly quotients of counts, and rounding makes a tie a tie: 72 % against 80 % meets
# the threshold, though 0.9 * 0.8 is 0.7200000000000001.
DIGITS = 12
DRAWS = 4000  # of the true means of rates, from which the regret is


class Point(NamedTuple):
    """The metric at one d: the mean over `values`, one for each seed, at lr after `epochs`."""

    d: int
    mean: float
    lr: float
    values: tuple[float, ...]
    epochs: int = 0


class Ranking(NamedTuple):
    """Rates from the best to the worst by their mean on select rows.

    edge: the best is the smallest or largest that was tried. regret: the root mean square of what
    its true mean lacks to the largest, since few seeds compared them.
    """

    rates: tuple[float, ...]
    edge: bool
    regret: float


class Choice(NamedTuple):
    """The setting that counts, and how it was chosen.

    rates: how many rates were compared. rising: it is the longest of several lengths. own_seeds: it
    was chosen on the seeds that it is reported on, if on other rows.
    """

    setting: Setting
    rates: int = 1
    edge: bool = False
    rising: bool = False
    regret: float = 0.0
    own_seeds: bool = False


def rank(values: Mapping[float, Sequence[float]], own: float) -> Ranking:
    """Rank rates by the metrics of their runs; of equals, that nearest to `own` is first.

    A rate with less than half the seeds of the most tried one is not first: it may be lucky.
    """
    most = max(map(len, values.values()))
    ranked = sorted(values, key=lambda one: (-fmean(values[one]), abs(math.log(one / own)), one))
    first = next(one for one in ranked if 2 * len(values[one]) >= most)
    ranked = [first, *(one for one in ranked if one != first)]
    edge = len(values) > 1 and first in (min(values), max(values))
    return Ranking(tuple(ranked), edge, _regret([values[one] for one in ranked]))


def choose(
    reported: Sequence[Measurement], choosing: Sequence[Measurement], level: float | None
) -> Choice | None:
    """Choose the setting of a series, or of full fine-tuning; None where no run is done.

    Runs whose seeds are for choosing decide. Where there are none, or they leave several settings,
    the reported runs' select rows do, at the two d about which their metric crosses the level;
    settings that were tried at fewer d than others do not count.
    """
    candidates = _complete(reported)
    if not candidates:
        return None
    here = fmean(math.log(run.d) for run in reported)
    near = min({run.d for run in choosing}, key=lambda d: abs(math.log(d) - here), default=None)
    chose = [run for run in choosing if run.d == near]
    if {run.setting for run in chose} >= candidates:
        values = _metrics(chose)
        return _best(values, [one for one in values if one in candidates], own_seeds=False)
    if len(candidates) == 1:
        return Choice(next(iter(candidates)))
    runs = [run for run in reported if run.setting in candidates]
    about = _about(runs, level)
    return _best(
        _metrics(run for run in runs if run.d in about), sorted(candidates), own_seeds=True
    )


def _best(
    values: Mapping[Setting, Sequence[float]], candidates: Iterable[Setting], own_seeds: bool
) -> Choice:
    """Return the best of the candidates, ranked among all rates with as many epochs."""
    by_length: dict[tuple[int, bool], dict[float, Sequence[float]]] = defaultdict(dict)
    for (epochs, ruled, rate), found in values.items():
        by_length[epochs, ruled][rate] = found
    choices = []
    for epochs, ruled in sorted({one[:2] for one in candidates}):
        rates = by_length[epochs, ruled]
        ranking = rank(rates, math.exp(fmean(map(math.log, rates))))
        allowed = {one.rate for one in candidates if one[:2] == (epochs, ruled)}
        rate = next((one for one in ranking.rates if one in allowed), None)
        if rate is not None:
            edge = ranking.edge and rate == ranking.rates[0]
            rising = len(by_length) > 1 and epochs == max(one for one, _ in by_length)
            setting = Setting(epochs, ruled, rate)
            facts = (len(rates), edge, rising, ranking.regret, own_seeds)
            choices.append((fmean(rates[rate]), Choice(setting, *facts)))
    # Of equal lengths the shorter one, which comes first.
    return max(choices, key=lambda one: one[0])[1]


def _complete(runs: Iterable[Measurement]) -> set[Setting]:
    """Return the settings that were tried at as many d as any."""
    places: dict[Setting, set[int]] = defaultdict(set)
    for run in runs:
        places[run.setting].add(run.d)
    most = max(map(len, places.values()), default=0)
    return {setting for setting, tried_at in places.items() if len(tried_at) == most}


def _metrics(runs: Iterable[Measurement]) -> dict[Setting, tuple[float, ...]]:
    """Return the select metric of each setting's seeds, a mean over d, without stuck runs."""
    found: dict[Setting, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    trivial: float | None = None
    for run in runs:
        found[run.setting][run.seed].append(run.select)
        part = run.record.select or run.record.metric
        known = [one for one in (trivial, part.trivial) if one is not None]
        trivial = max(known, default=None)
    values = {one: [fmean(seeds[seed]) for seed in sorted(seeds)] for one, seeds in found.items()}
    top = max((one for metrics in values.values() for one in metrics), default=0.0)
    return {one: tuple(unstuck(metrics, trivial, top)) for one, metrics in values.items()}


def _about(runs: Iterable[Measurement], level: float | None) -> list[int]:
    """Return the two d about which the best setting's select metric crosses the level."""
    by_d: dict[int, dict[Setting, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        by_d[run.d][run.setting].append(run.select)
    every = sorted(by_d)
    best = [max(fmean(found) for found in by_d[d].values()) for d in every]
    met = [place for place, metric in enumerate(best) if level is not None and metric >= level]
    place = met[0] if met else len(every) - 1
    return every[max(place - 1, 0) : place + 1]


def tried(done: Iterable[Measurement]) -> tuple[Point, ...]:
    """Return every d and setting that was tried, ascending."""
    values: dict[tuple[int, float, int], dict[int, float]] = defaultdict(dict)
    for run in done:
        values[run.d, run.lr, run.setting.epochs][run.seed] = run.value
    points = []
    for (d, lr, epochs), seeds in sorted(values.items()):
        found = tuple(seeds[seed] for seed in sorted(seeds))
        points.append(Point(d, round(fmean(found), DIGITS), lr, found, epochs))
    return tuple(points)


def _regret(ranked: Sequence[Sequence[float]]) -> float:
    """Return the root mean square of what the first rate's true mean lacks to the largest.

    The true means are drawn as the metrics show them; runs scatter as those of the best two do.
    """
    rests = [value - np.mean(values) for values in ranked[:2] for value in values]
    freedom = len(rests) - len(ranked[:2])
    if len(ranked) == 1 or freedom < 1:
        return 0.0
    errors = [(np.square(rests).sum() / freedom / len(values)) ** 0.5 for values in ranked]
    means = [np.mean(values) for values in ranked]
    drawn = np.random.default_rng(0).normal(means, errors, (DRAWS, len(ranked)))
    return float(np.mean((drawn.max(1) - drawn[:, 0]) ** 2) ** 0.5)
