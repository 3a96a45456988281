"""The search of several series by the runs of train.py: each by its own machine, in common rounds.

A series is given by the overrides of train.py that select it, such as `task=sst2 method=said`. The
caller says how runs are made. Series that share their full fine-tuning ask for the same runs of it,
which are made once.
"""

import logging
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from said_lightning.runs.record import Record
from said_lightning.runs.scores import read_scores
from said_lightning.search.answer import Answer
from said_lightning.search.jobs import Job, Scores
from said_lightning.search.locate import Nearest
from said_lightning.search.protocol import Plan, Search

log = logging.getLogger(__name__)

GROUPS = ("model", "model.layers", "task", "method", "projection")

Overrides = list[str]
# Makes runs and returns the record of each, None for one that left none.
Run = Callable[[list[Overrides]], list[Record | None]]


class Series(NamedTuple):
    """A series by its overrides, and the config's own values that jobs are factors on.

    key, rate: what its rate is set by, and to. nearest: gives the d that the series can have for
    one that it may not have.
    """

    overrides: Overrides
    key: str
    rate: float
    full_lr: float
    epochs: int
    full_epochs: int
    nearest: Nearest = int

    @property
    def baseline(self) -> Overrides:
        """The overrides of full fine-tuning, whose rate is its own."""
        mine = ("method=", "lr=")
        return [one for one in self.overrides if not one.startswith(mine)] + ["method=full"]

    @property
    def name(self) -> str:
        """The series in messages: its configs, without values that all series share."""
        parts = [one for one in self.overrides if one.partition("=")[0] in GROUPS]
        return " ".join(parts) or "the default series"

    def job(self, job: Job) -> Overrides:
        """Return the overrides of one job."""
        full = job.d is None
        overrides = [*(self.baseline if full else [*self.overrides, f"d={job.d}"])]
        overrides.append(f"seed={job.seed}")
        if job.rate != 1:
            key, own = ("lr", self.full_lr) if full else (self.key, self.rate)
            overrides.append(f"{key}={own * job.rate:.4g}")
        if job.length != 1:
            epochs = self.full_epochs if full else self.epochs
            overrides.append(f"trainer.epochs={max(1, round(epochs * job.length))}")
        return overrides if job.stop_at is None else [*overrides, _stop_at(job.stop_at)]

    def growing(self, seed: int, threshold: float, plan: Plan, epochs: int) -> Overrides:
        """Return the overrides of a run whose d grows until it meets the threshold."""
        grow = [f"d={plan.high}", f"trainer.grow_from={plan.low}", f"trainer.epochs={epochs}"]
        return [*self.overrides, f"seed={seed}", *grow, _stop_at(threshold)]


def search(
    series: Sequence[Series], run: Run, plan: Plan, nested: int | None = None
) -> list[Answer]:
    """Search every series and return their answers; the runs' records hold what they rest on.

    In each round, the jobs of all series are run together. One without a threshold above chance is
    run once, so that tables and reports show it. With `nested`, d90 is not searched but bounded by
    one run for each seed, of `nested` epochs, whose d grows.
    """
    searches = [Search(plan, nested is not None, one.nearest) for one in series]
    while batch := [(i, job) for i, one in enumerate(searches) for job in one.ask()]:
        records = run([series[i].job(job) for i, job in batch])
        for (i, job), record in zip(batch, records, strict=True):
            _observe(searches[i], job, record)
    answers = [one.answer for one in searches if one.answer is not None]
    last: list[Overrides] = []
    for one, state, answer in zip(series, searches, answers, strict=True):
        log.info("%s: %s", one.name, answer)
        if answer.verdict == "trivial":
            last.append([*one.overrides, f"d={one.nearest(plan.low)}", "seed=0"])
        elif answer.verdict == "nested" and nested is not None:
            seeds = range(plan.seeds)
            last += [one.growing(seed, state.threshold, plan, nested) for seed in seeds]
    if last:
        run(last)
    return answers


def _observe(search: Search, job: Job, record: Record | None) -> None:
    """Add what a run has left to a search; the trivial score is the largest of its baselines'."""
    if record is None or record.status != "done":
        search.observe(job, None)
        return
    trivial = record.metric.trivial
    if job.d is None and trivial is not None:
        search.runs.trivial = max(search.runs.trivial or trivial, trivial)
    search.observe(job, scores_of(record, job))


def scores_of(record: Record, job: Job) -> Scores | None:
    """Return a run's metric on the select rows, or for the stage confirm its report rows' scores.

    Where these are not kept, the metric on the report rows.
    """
    if job.stage != "confirm":
        return record.select.value if record.select else record.metric.value
    if record.folder is not None and (rows := read_scores(record.folder, record)) is not None:
        return rows
    return record.metric.value


def _stop_at(value: float) -> str:
    """Round up to four decimals, since the value is part of the run's hash."""
    return f"trainer.stop_at={math.ceil(round(value * 1e4, 6)) / 1e4}"
