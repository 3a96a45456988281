"""Which runs count for a row, which are missing, and whether those that count belong together."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from said_lightning.runs.record import Record

# What a run tries within its row: d, learning rate, what the rule makes a rate of, seed.
Job = tuple[int | None, float | None, float | None, int]
# How the reason of a run begins whose loss was no number: with its rate there is nothing to come.
_DIVERGED = "FloatingPointError"

_SHOWN = 3


class Done(NamedTuple):
    """A run's metric, `value`, at d and lr.

    It is a lower bound of what it would have come to where the run `stopped` before, having met the
    threshold. A run whose d grew gives one for each of its stages.
    """

    d: int
    lr: float
    seed: int
    value: float
    stopped: bool
    record: Record

    @property
    def step(self) -> float:
        """How far a step of theta moves the weights, lr sqrt(d), in all projections by the rule."""
        rule, D = self.record.rule, self.record.D
        inside = max(self.d - (self.record.outside or 0), 0)
        return rule * D**0.5 if rule and D else self.lr * inside**0.5


class Jobs(NamedTuple):
    """The runs that gave a metric, and one record for each job that has given none."""

    done: list[Done]
    open: list[Record]


def settle(records: Iterable[Record]) -> Jobs:
    """Sort runs by whether they count; a done run settles every other try at the same job.

    Of a run that is open, d is what the config says, to which the numbers of a head outside the
    subspace are added as in those that are done.
    """
    done: list[Done] = []
    left: list[Record] = []
    for record in sorted(records, key=_when):
        if measured := values(record):
            done += measured
        else:
            left.append(record)
    outside = max((run.record.outside or 0 for run in done), default=0)
    tries = {_job(one): one for one in (_counted(record, outside) for record in left)}
    settled: set[Job] = set()
    for run in done:
        d, lr, rule, seed = _job(run.record)
        # Before D is known, a run tells no rate but the rule's; older records not even that.
        settled |= {(d, lr, None, seed), (d, None, rule, seed), (d, None, None, seed)}
    return Jobs(done, [one for job, one in tries.items() if not _is_settled(job, one, settled)])


def _counted(record: Record, outside: int) -> Record:
    """Count a head outside the subspace in the d of a run that does not."""
    if record.d is None or record.outside is not None:
        return record
    return replace(record, d=record.d + outside)


def _is_settled(job: Job, record: Record, settled: set[Job]) -> bool:
    """Whether a job needs no other run; one whose rate is too high, once another rate has."""
    diverged = record.status == "failed" and (record.reason or "").startswith(_DIVERGED)
    return job in settled or (diverged and (job[0], None, None, job[-1]) in settled)


def values(record: Record) -> list[Done]:
    """Give what a run measured, nothing where it is not done.

    A stage that a run whose d grew did not come to has the value with which it stopped.
    """
    d, lr, value = record.d, record.lr, record.metric.value
    if record.status != "done" or d is None or lr is None or value is None:
        return []
    if not record.stages:
        last, epochs = record.last, record.epochs
        stopped = last is not None and epochs is not None and last.epoch < epochs
        return [Done(d, lr, record.seed, value, stopped, record)]
    found = []
    for stage in record.stages:
        stopped = stage.value is None
        value = value if stage.value is None else stage.value
        found.append(Done(stage.d, stage.lr, record.seed, value, stopped, record))
    return found


def reached(done: Iterable[Done]) -> list[Done]:
    """Leave out the stages to which no run came."""
    runs = list(done)
    came = {run.d for run in runs if not run.stopped}
    return [run for run in runs if run.d in came or not run.record.stages]


def _job(record: Record) -> Job:
    # A baseline that was cut off does not tell its d, which is always D.
    d = None if record.method == "full" else record.d
    return (d, record.lr, record.rule, record.seed)


def _when(record: Record) -> tuple[str, str, str]:
    return (record.started or "", record.status, record.reason or "")


def metric_name(done: Sequence[Done]) -> str | None:
    """The metric's name; several names, joined, where runs disagree."""
    return " | ".join(sorted({run.record.metric.name or "?" for run in done})) or None


def missing(runs: Sequence[Record], what: str) -> list[str]:
    """A note that tells the first of the open jobs and why they are open; no note where none is."""
    if not runs:
        return []
    told = []
    for run in sorted(runs, key=lambda r: (r.d or 0, r.lr or 0, r.seed))[:_SHOWN]:
        d = "" if run.d is None or run.method == "full" else f"d = {run.d:,}, "
        lr = "" if run.rule is None else f"lr by the rule from {run.rule:g}, "
        lr = lr if run.lr is None else f"lr = {run.lr:g}, "
        state = "without a metric" if run.status == "done" else run.status
        why = f"{state}: {' '.join(run.reason.split()):.100}" if run.reason else state
        told.append(f"{d}{lr}seed {run.seed} ({why})")
    more = f" and {len(runs) - _SHOWN} more" if len(runs) > _SHOWN else ""
    return [f"{what} not done: {'; '.join(told)}{more}"]


def mixtures(lane: Sequence[Done], full: Sequence[Done]) -> list[str]:
    """Notes on runs that differ in what must be the same for their numbers to be compared."""
    subspace = [run.record for run in lane]
    every = [*subspace, *(run.record for run in full)]
    # A run whose d grows has epochs of its own.
    grew = any(r.stages for r in subspace)
    found: dict[str, set[object]] = {
        "metric": {r.metric.name for r in every},
        "data_sha256": {r.data_sha256 for r in every},
        "model_sha256": {r.model_sha256 for r in every},
        "D": {r.D for r in subspace},
        "m": {r.m for r in subspace},
        "outside": {r.outside for r in subspace},
        "epochs": _known(r.epochs for r in (subspace if grew else every)),
        "setting (config.yaml tells)": _known(r.setting_hash for r in every),
    }
    notes = [
        f"mixes runs of different {key}: {', '.join(sorted(f'{value!s:.12}' for value in values))}"
        for key, values in found.items()
        if len(values) > 1
    ]
    results: dict[tuple[str, int, float, int], set[float]] = defaultdict(set)
    for run in (*lane, *full):
        results[run.record.method, run.d, run.lr, run.seed].add(run.value)
    repeated = sum(len(values) > 1 for values in results.values())
    if repeated:
        notes.append(f"averaged: runs of the same d, lr and seed that disagree ({repeated} such)")
    return notes


def _known(values: Iterable[object]) -> set[object]:
    """What records tell of a fact that older ones leave open."""
    return {value for value in values if value is not None}


def head(lane: Sequence[Done]) -> list[str]:
    """A note where d counts numbers of a head outside the subspace."""
    outside = max((run.record.outside or 0 for run in lane), default=0)
    return [f"d counts {outside:,} numbers of a head outside the subspace"] if outside else []
