"""The rate and the epochs of a series: chosen on select rows, once for all its d."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from statistics import fmean
from typing import NamedTuple

import numpy as np

from said_lightning.analysis.cells import DIGITS
from said_lightning.analysis.measurements import Measurement, Setting
from said_lightning.analysis.stuck import unstuck

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

    rates: how many rates were compared, seeds: by how many runs each, at least, of the best two.
    rising: it is the longest of several lengths. own_seeds: it was chosen on the seeds that it is
    reported on, if on other rows. better: the setting that was best, where no run at it reports.
    """

    setting: Setting
    rates: int = 1
    seeds: int = 1
    edge: bool = False
    rising: bool = False
    regret: float = 0.0
    own_seeds: bool = False
    better: Setting | None = None


def rank(values: Mapping[float, Sequence[float]], own: float) -> Ranking:
    """Rank rates by the metrics of their runs; of equals, that nearest to `own` is first.

    A rate with less than half the seeds of the most tried one is not first: it may be lucky.
    """
    most = max(map(len, values.values()))
    ranked = sorted(values, key=lambda one: (-fmean(values[one]), abs(math.log(one / own)), one))
    first = next(one for one in ranked if 2 * len(values[one]) >= most)
    ranked = [first, *(one for one in ranked if one != first)]
    edge = len(values) > 1 and first in (min(values), max(values))
    return Ranking(tuple(ranked), edge, regret([values[one] for one in ranked]))


def choose(
    reported: Sequence[Measurement], choosing: Sequence[Measurement], level: float | None
) -> Choice | None:
    """Choose the setting of a series, or of full fine-tuning; None where no run is done.

    Runs whose seeds are for choosing decide. Where there are none, or they leave several settings,
    the reported runs' select rows do, at the two d about which their metric crosses the level.
    Only a setting that was tried at as many d as any is chosen.
    """
    tried_at: dict[Setting, set[int]] = defaultdict(set)
    for run in reported:
        tried_at[run.setting].add(run.d)
    if not tried_at:
        return None
    candidates = _complete(tried_at)
    here = fmean(math.log(run.d) for run in reported)
    chosen_at = sorted({run.d for run in choosing})
    near = min(chosen_at, key=lambda d: abs(math.log(d) - here), default=None)
    chose = [run for run in choosing if run.d == near]
    if {run.setting for run in chose} >= candidates:
        return _best(_metrics(chose), candidates, own_seeds=False)
    about = _about((run for run in reported if run.setting in candidates), level)
    runs = [run for run in reported if run.d in about and tried_at[run.setting] >= set(about)]
    if len({run.setting for run in runs}) == 1:
        return Choice(runs[0].setting)
    return _best(_metrics(runs), candidates, own_seeds=True)


def _complete(tried_at: Mapping[Setting, set[int]]) -> set[Setting]:
    """Return the settings that were tried at the most d, which are the same d for all of them."""
    most = max(sorted(tried_at), key=lambda one: len(tried_at[one]))
    return {one for one, grid in tried_at.items() if grid == tried_at[most]}


def _best(
    values: Mapping[Setting, Sequence[float]], candidates: Set[Setting], own_seeds: bool
) -> Choice:
    """Return the best of the candidates, and whether another setting was better."""
    chosen = _of(values, candidates)
    best = chosen if candidates == values.keys() else _of(values, values.keys())
    better = None if chosen.setting == best.setting else best.setting
    return chosen._replace(own_seeds=own_seeds, better=better)


def _of(values: Mapping[Setting, Sequence[float]], candidates: Set[Setting]) -> Choice:
    """Return the best of the candidates, ranked among all rates with as many epochs.

    Of several lengths it is the shortest within one standard error of the best.
    """
    by_length: dict[tuple[int, bool], dict[float, Sequence[float]]] = defaultdict(dict)
    for (epochs, ruled, rate), found in values.items():
        by_length[epochs, ruled][rate] = found
    longest = max(epochs for epochs, _ in by_length)
    several = min(epochs for epochs, _ in by_length) < longest
    choices = []
    for epochs, ruled in sorted({one[:2] for one in candidates}):
        rates = by_length[epochs, ruled]
        ranking = rank(rates, math.exp(fmean(map(math.log, rates))))
        rate = next(one for one in ranking.rates if Setting(epochs, ruled, one) in candidates)
        is_best = rate == ranking.rates[0]
        first = (rate, *(one for one in ranking.rates if one != rate))
        choices.append(
            Choice(
                Setting(epochs, ruled, rate),
                rates=len(rates),
                seeds=min(len(rates[one]) for one in ranking.rates[:2]),
                edge=ranking.edge and is_best,
                rising=several and epochs == longest,
                regret=ranking.regret if is_best else regret([rates[one] for one in first]),
            )
        )
    choices.sort(key=lambda one: (one.setting.epochs, -fmean(values[one.setting])))
    best = max((values[one.setting] for one in choices), key=fmean)
    return next(one for one in choices if is_near(values[one.setting], best))


def is_near(values: Sequence[float], best: Sequence[float]) -> bool:
    """Return whether a mean is within one standard error of the best; where one is known."""
    several = [one for one in (values, best) if len(one) > 1]
    error = float(sum(np.var(one, ddof=1) / len(one) for one in several)) ** 0.5
    return fmean(best) - fmean(values) <= error


def _metrics(runs: Iterable[Measurement]) -> dict[Setting, tuple[float, ...]]:
    """Return the select metric of each setting's seeds, a mean over d, without stuck runs.

    A seed that lacks a d which others of its setting have is left out.
    """
    found: dict[Setting, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    trivials = []
    for run in runs:
        found[run.setting][run.seed].append(run.select)
        trivials.append((run.record.select or run.record.metric).trivial)
    values = {}
    for setting, seeds in found.items():
        most = max(map(len, seeds.values()))
        values[setting] = [fmean(seeds[seed]) for seed in sorted(seeds) if len(seeds[seed]) == most]
    top = max((one for metrics in values.values() for one in metrics), default=0.0)
    trivial = max((one for one in trivials if one is not None), default=None)
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
    runs: dict[tuple[int, Setting], dict[int, Measurement]] = defaultdict(dict)
    for run in done:
        runs[run.d, run.setting][run.seed] = run
    points = []
    for (d, setting), seeds in runs.items():
        values = tuple(seeds[seed].value for seed in sorted(seeds))
        lr = min(run.lr for run in seeds.values())
        points.append(Point(d, round(fmean(values), DIGITS), lr, values, setting.epochs))
    return tuple(sorted(points, key=lambda point: (point.d, point.lr, point.epochs)))


def regret(ranked: Sequence[Sequence[float]]) -> float:
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
