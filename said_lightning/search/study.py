"""The search of several series: their baselines first, then rounds until each d90 is known.

A series is given by the overrides of train.py that select it, such as `task=sst2 method=said`. The
caller says how runs are made.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from said_lightning.analysis.reading import SHARE
from said_lightning.runs.record import Record
from said_lightning.search.series import Job, SeriesSearch

log = logging.getLogger(__name__)

GROUPS = ("model", "model.layers", "task", "method", "projection")

Overrides = list[str]
# Makes runs and returns the record of each, None for one that left none.
Run = Callable[[list[Overrides]], list[Record | None]]


@dataclass(frozen=True)
class Settings:
    """What to search, and how closely; see conf/hydra/sweeper/d90.yaml.

    step_ratio: that of the config, on which the rates are factors. nested: the epochs of a run that
    grows from low to high, one for each seed in place of the search; None searches.
    """

    low: int
    high: int
    seeds: int
    rates: Sequence[float]
    budget: int
    tolerance: float
    batch: int
    to_the_end: bool
    corrected: bool
    nested: int | None
    step_ratio: float


def search(series: Sequence[Overrides], run: Run, settings: Settings) -> None:
    """Search every series; the runs' records hold the result.

    Full fine-tuning is run with each of the seeds and serves all series that differ in their method
    alone. In each round, the jobs of all series are run together. A series without a threshold
    above chance is not searched, but run once, so that tables and reports show it.
    """
    searches, without = start_all(series, run, settings)
    if without:
        run([[*one, f"d={settings.low}", "seed=0"] for one in without])
    if settings.nested is not None:
        seeds = range(settings.seeds)
        run([one + growing(seed, state, settings) for one, state in searches for seed in seeds])
        return
    while batch := [(one, state, job) for one, state in searches for job in state.ask()]:
        records = run([one + job_overrides(job, state, settings) for one, state, job in batch])
        for (_, state, job), record in zip(batch, records, strict=True):
            found = done(record)
            state.observe(job, found.metric.value if found else None)


def start_all(
    series: Sequence[Overrides], run: Run, settings: Settings
) -> tuple[list[tuple[Overrides, SeriesSearch]], list[Overrides]]:
    """Run the baselines; return each series with state search, and those without a threshold."""
    seeds = range(settings.seeds)
    records = iter(run([[*baseline(one), f"seed={seed}"] for one in series for seed in seeds]))
    searches: list[tuple[Overrides, SeriesSearch]] = []
    without: list[Overrides] = []
    for one in series:
        by_seed = {seed: done(next(records)) for seed in seeds}
        full = [found for found in by_seed.values() if found is not None]
        if missing := [str(seed) for seed, found in by_seed.items() if found is None]:
            which = ", ".join(missing)
            log.info("%s: full fine-tuning has no result for seed %s: no search", name(one), which)
        elif (state := start(full, settings)) is not None:
            searches.append((one, state))
        else:
            log.info("%s: full fine-tuning gives no threshold above chance: no search", name(one))
            without.append(one)
    return searches, without


def done(record: Record | None) -> Record | None:
    """Return a run's record where it is done and has a metric, else None."""
    found = record is not None and record.status == "done" and record.metric.value is not None
    return record if found else None


def start(full: Sequence[Record], settings: Settings) -> SeriesSearch | None:
    """Return the search of a series; None where full fine-tuning gives no threshold above chance.

    Every seed of full fine-tuning must have its metric: with fewer the threshold would differ, and
    with it the runs that end above it.
    """
    metrics = [record.metric for record in full]
    values = [metric.value for metric in metrics if metric.value is not None]
    trivial = max((metric.trivial for metric in metrics if metric.trivial is not None), default=0.0)
    found = SeriesSearch(
        values,
        settings.low,
        settings.high,
        settings.rates,
        settings.budget,
        settings.tolerance,
        settings.batch,
        (1 - SHARE) * trivial if settings.corrected else 0.0,
    )
    return found if min(found.threshold, sum(values) / len(values)) > trivial else None


def baseline(series: Overrides) -> Overrides:
    """Return the overrides of full fine-tuning for a series, whose rate is theta's."""
    return [one for one in series if not one.startswith(("method=", "lr="))] + ["method=full"]


def job_overrides(job: Job, state: SeriesSearch, settings: Settings) -> Overrides:
    """Return the overrides of one job of a series, beside those that select the series."""
    overrides = [f"d={job.d}", f"seed={job.seed}"]
    if job.rate != 1:
        overrides.append(f"trainer.step_ratio={settings.step_ratio * job.rate:.4g}")
    if not settings.to_the_end:
        overrides.append(_stop_at(state.stop_at))
    return overrides


def growing(seed: int, state: SeriesSearch, settings: Settings) -> Overrides:
    """Return the overrides of one run of a series whose d grows until it meets the threshold."""
    overrides = [f"d={settings.high}", f"seed={seed}", f"trainer.grow_from={settings.low}"]
    overrides.append(f"trainer.epochs={settings.nested}")
    return overrides if settings.to_the_end else [*overrides, _stop_at(state.threshold)]


def _stop_at(value: float) -> str:
    """Round up to four decimals, since the value is part of the run's hash."""
    return f"trainer.stop_at={math.ceil(round(value * 1e4, 6)) / 1e4}"


def name(series: Overrides) -> str:
    """Return a series' name for messages: its configs, without values that all series share."""
    parts = [one for one in series if one.partition("=")[0] in GROUPS]
    return " ".join(parts) or "the default series"
