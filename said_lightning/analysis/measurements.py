"""The measurements that count for a series, and the jobs that have given none."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from said_lightning.runs.record import Record

# What a run tries within its row: d, seed, learning rate, what the rule makes a rate of, epochs.
Job = tuple[int | None, int, float | None, float | None, int | None]
# How the reason of a run begins whose loss was no number: with its rate there is nothing to come.
_DIVERGED = "FloatingPointError"


class Setting(NamedTuple):
    """What is chosen for a series: the rate and the number of epochs.

    The rate is what the rule (subspace/lr_rule.py) makes lr of at each d, or lr itself where it was
    given; `ruled` says which.
    """

    epochs: int
    ruled: bool
    rate: float


class Measurement(NamedTuple):
    """A run's metric, `value`, at d and lr.

    Where the run `stopped` early, having met the threshold, it is a lower bound of what training to
    the end would have reached. A run whose d grew gives one for each of its stages.
    """

    d: int
    lr: float
    seed: int
    value: float
    stopped: bool
    record: Record

    @property
    def select(self) -> float:
        """The metric on the select rows, by which settings are chosen."""
        part = self.record.select
        if part is None or part.value is None or self.record.stages:
            return self.value
        return part.value

    @property
    def setting(self) -> Setting:
        """The rate and the epochs that the run was made with."""
        rule = self.record.rule
        rate = self.lr if rule is None else rule
        # A rate that was written with a few digits is the same rate.
        return Setting(self.record.epochs or 0, rule is not None, float(f"{rate:.4g}"))


class Jobs(NamedTuple):
    """The measurements of runs, and one record for each job that has given none.

    Of two runs of one d, setting and seed the later one counts; `repeated` is the number of the
    earlier ones.
    """

    done: list[Measurement]
    open: list[Record]
    repeated: int = 0

    @property
    def ended_early(self) -> bool:
        """Whether a run stopped before its last epoch."""
        return any(run.stopped for run in self.done)


def settle(records: Iterable[Record]) -> Jobs:
    """Separate the runs that measured from those open; a done run settles other tries at its job.

    An open run has the d of its config, to which the numbers of a head outside the subspace are
    added, as in those that are done.
    """
    every: dict[tuple[int, Setting, int], Measurement] = {}
    left: list[Record] = []
    number = 0
    for record in sorted(records, key=_when):
        if not (measured := measure(record)):
            left.append(record)
        number += len(measured)
        for run in measured:
            job = (run.d, run.setting, run.seed)
            if not run.stopped or job not in every or every[job].stopped:
                every[job] = run
    done = list(every.values())
    outside = max((run.record.outside or 0 for run in done), default=0)
    tries = {_job(one): one for one in (_counted(record, outside) for record in left)}
    settled: dict[tuple[int | None, int], set[Job]] = defaultdict(set)
    for run in done:
        made = _job(run.record)
        settled[made[:2]].add(made)
    missing = [one for try_, one in tries.items() if not _is_settled(try_, one, settled[try_[:2]])]
    return Jobs(done, missing, number - len(done))


def _counted(record: Record, outside: int) -> Record:
    """Add a head outside the subspace to the d of a run whose record lacks it."""
    if record.d is None or record.outside is not None:
        return record
    return replace(record, d=record.d + outside)


def _is_settled(job: Job, record: Record, settled: set[Job]) -> bool:
    """Return whether a job needs no run, `settled` being those done of its d and seed.

    One that diverged needs none once another rate is done. Before a run has begun, its record has
    no rate but the rule's, or none, and no epochs.
    """
    diverged = record.status == "failed" and (record.reason or "").startswith(_DIVERGED)
    known = [(place, fact) for place, fact in enumerate(job) if fact is not None]
    return any(diverged or all(one[place] == fact for place, fact in known) for one in settled)


def measure(record: Record) -> list[Measurement]:
    """Return what a run measured, nothing where it is not done.

    A stage that a run whose d grew did not reach has the value with which it stopped.
    """
    d, lr, value = record.d, record.lr, record.metric.value
    if record.status != "done" or d is None or lr is None or value is None:
        return []
    if not record.stages:
        last, epochs = record.last, record.epochs
        stopped = last is not None and epochs is not None and last.epoch < epochs
        return [Measurement(d, lr, record.seed, value, stopped, record)]
    found = []
    for stage in record.stages:
        stopped = stage.value is None
        value = value if stage.value is None else stage.value
        found.append(Measurement(stage.d, stage.lr, record.seed, value, stopped, record))
    return found


def reached(done: Iterable[Measurement]) -> list[Measurement]:
    """Leave out the stages that no run reached."""
    runs = list(done)
    there = {run.d for run in runs if not run.stopped}
    return [run for run in runs if run.d in there or not run.record.stages]


def _job(record: Record) -> Job:
    # A baseline that was cut off has no d in its record, which is always D.
    d = None if record.method == "full" else record.d
    return (d, record.seed, record.lr, record.rule, record.epochs)


def _when(record: Record) -> tuple[str | int | float, ...]:
    facts = (record.reason or "", record.d or 0, record.metric.value or 0.0, str(record.folder))
    return (record.started or "", record.status, *facts)
