"""The search of several lanes at once: baselines first, then rounds until every lane is known.

A lane is known by the overrides of train.py that make it, such as `task=sst2 method=said`. How runs
are made is left to the caller.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from said_lightning.analysis.estimator import SHARE
from said_lightning.runs.record import Record
from said_lightning.search.series import Job, Lane

log = logging.getLogger(__name__)

GROUPS = ("model", "model.layers", "task", "method", "projection")

Overrides = list[str]
# Makes runs and gives the record of each, None for one that left none.
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


def search(lanes: Sequence[Overrides], run: Run, settings: Settings) -> None:
    """Searches every lane; the runs' records hold what was found.

    Full fine-tuning is run with each of the seeds and serves all lanes that differ in their method
    alone. In each round, all lanes' jobs are run together. A lane that has no threshold above
    chance is not searched, but run once, so that tables and reports show it.
    """
    baselines = [
        [*baseline(lane), f"seed={seed}"] for lane in lanes for seed in range(settings.seeds)
    ]
    records = iter(run(baselines))
    searches: list[tuple[Overrides, Lane]] = []
    without: list[Overrides] = []
    for one in lanes:
        by_seed = {seed: done(next(records)) for seed in range(settings.seeds)}
        full = [found for found in by_seed.values() if found is not None]
        if missing := [str(seed) for seed, found in by_seed.items() if found is None]:
            told = f"no result for seed {', '.join(missing)}"
            log.info("%s: full fine-tuning has %s: no search", name(one), told)
        elif (lane := start(full, settings)) is not None:
            searches.append((one, lane))
        else:
            log.info("%s: full fine-tuning gives no threshold above chance: no search", name(one))
            without.append([*one, f"d={settings.low}", "seed=0"])
    if without:
        run(without)
    if settings.nested is not None:
        seeds = range(settings.seeds)
        run([one + growing(seed, lane, settings) for one, lane in searches for seed in seeds])
        return
    while batch := [(one, lane, job) for one, lane in searches for job in lane.ask()]:
        made = run([one + job_overrides(job, lane, settings) for one, lane, job in batch])
        for (_, lane, job), record in zip(batch, made, strict=True):
            found = done(record)
            lane.tell(job, found.metric.value if found else None)


def done(record: Record | None) -> Record | None:
    """Gives a run's record where it is done and has a metric."""
    found = record is not None and record.status == "done" and record.metric.value is not None
    return record if found else None


def start(full: Sequence[Record], settings: Settings) -> Lane | None:
    """Gives a lane's search, or None where full fine-tuning gives no threshold above chance.

    Every seed of full fine-tuning must have its metric: with fewer the threshold would be another,
    and so would be the runs that end above it.
    """
    metrics = [record.metric for record in full]
    values = [metric.value for metric in metrics if metric.value is not None]
    trivial = max((metric.trivial for metric in metrics if metric.trivial is not None), default=0.0)
    lane = Lane(
        values,
        settings.low,
        settings.high,
        settings.rates,
        settings.budget,
        settings.tolerance,
        settings.batch,
        (1 - SHARE) * trivial if settings.corrected else 0.0,
    )
    return lane if min(lane.threshold, sum(values) / len(values)) > trivial else None


def baseline(lane: Overrides) -> Overrides:
    """Gives the overrides of full fine-tuning for a lane, whose rate is theta's."""
    return [one for one in lane if not one.startswith(("method=", "lr="))] + ["method=full"]


def job_overrides(job: Job, lane: Lane, settings: Settings) -> Overrides:
    """Gives the overrides of one job of a lane."""
    overrides = [f"d={job.d}", f"seed={job.seed}"]
    if job.rate != 1:
        overrides.append(f"trainer.step_ratio={settings.step_ratio * job.rate:.4g}")
    if not settings.to_the_end:
        overrides.append(_stop_at(lane.stop_at))
    return overrides


def growing(seed: int, lane: Lane, settings: Settings) -> Overrides:
    """Gives the overrides of one run of a lane that grows until it meets the threshold."""
    overrides = [f"d={settings.high}", f"seed={seed}", f"trainer.grow_from={settings.low}"]
    overrides.append(f"trainer.epochs={settings.nested}")
    return overrides if settings.to_the_end else [*overrides, _stop_at(lane.threshold)]


def _stop_at(value: float) -> str:
    """Rounds up to what a run's name is to hold."""
    return f"trainer.stop_at={math.ceil(round(value * 1e4, 6)) / 1e4}"


def name(lane: Overrides) -> str:
    """Names a lane in a message by its configs, without the values that all lanes share."""
    parts = [one for one in lane if one.partition("=")[0] in GROUPS]
    return " ".join(parts) or "the default lane"
