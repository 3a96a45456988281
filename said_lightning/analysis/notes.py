"""Notes on a row: what its d90 rests on that a reader would not expect."""

from collections.abc import Iterator, Sequence

import numpy as np

from said_lightning.analysis.d90 import Estimate
from said_lightning.analysis.measurements import Jobs, Measurement
from said_lightning.analysis.rates import Choice
from said_lightning.analysis.reading import Evidence, Reading
from said_lightning.analysis.series import Series
from said_lightning.runs.record import CHOOSING, Record

_SHOWN = 3
_FULL = "full fine-tuning"


def notes_on(
    reading: Reading,
    evidence: Evidence,
    every: Jobs,
    series: Series,
    found: Estimate | None,
    unread: Sequence[str],
) -> tuple[str, ...]:
    """Return the notes on a row: missing runs, how its rates were chosen, and doubts.

    `every` are its reporting runs at all settings, `unread` the messages on scores of rows.
    """
    return (
        *_protocol(series),
        *_missing(evidence.top.open, _FULL),
        *_ended_early(evidence, reading),
        *_missing(every.open, "runs"),
        *_only_chosen(every, series),
        *_doubts(reading, evidence),
        *_choices(evidence),
        *_few_seeds(reading, evidence),
        *_stuck(found),
        *_head(every.done),
        *_repeated(every, evidence.top),
        *unread,
    )


def _protocol(series: Series) -> list[str]:
    """Return a note on runs whose report rows chose their epoch."""
    if any(run.protocol == "dev" for run in series.every):
        return ["protocol=dev: the rows that report also chose the epoch and the rate"]
    return []


def _missing(runs: Sequence[Record], what: str) -> list[str]:
    """Return a note on the first of the open jobs and why they are open; none where none is."""
    if not runs:
        return []
    shown = []
    for run in sorted(runs, key=lambda r: (r.d or 0, r.lr or 0, r.seed))[:_SHOWN]:
        d = "" if run.d is None or run.method == "full" else f"d = {run.d:,}, "
        lr = "" if run.rule is None else f"lr by the rule from {run.rule:g}, "
        lr = lr if run.lr is None else f"lr = {run.lr:g}, "
        state = "without a metric" if run.status == "done" else run.status
        why = f"{state}: {' '.join(run.reason.split()):.100}" if run.reason else state
        shown.append(f"{d}{lr}seed {run.seed} ({why})")
    more = f" and {len(runs) - _SHOWN} more" if len(runs) > _SHOWN else ""
    return [f"{what} not done: {'; '.join(shown)}{more}"]


def _ended_early(evidence: Evidence, reading: Reading) -> Iterator[str]:
    """Yield notes on runs that were stopped before their last epoch."""
    if evidence.top.ended_early:
        yield f"{_FULL} ended before its time (trainer.stop_at)"
    stopped = [run for run in evidence.series.done if run.stopped and not run.record.stages]
    if stopped and reading.grid is not None:
        yield (
            f"{len(stopped)} runs ended once they met trainer.stop_at, so that d90 is not fitted; "
            "the paper's reading holds"
        )


def _only_chosen(every: Jobs, series: Series) -> list[str]:
    """Return a note where runs chose rates or a range of d, and none reports."""
    chose = sum(run.seed >= CHOOSING and run.status == "done" for run in series.runs)
    if not chose or every.done or every.open:
        return []
    return [f"{chose} runs chose rates or where d90 lies, and none reports yet"]


def _doubts(reading: Reading, evidence: Evidence) -> list[str]:
    """Return notes on a d that meets the threshold but need not be the answer."""
    level = reading.threshold
    if level is None or reading.verdict == "trivial" or not evidence.points:
        return []
    cells = evidence.cells
    every = [
        (round(d), mean >= level)
        for d, mean in zip(np.exp(cells.x), cells.means.round(12), strict=True)
    ]
    met = [d for d, reached in every if reached]
    if not met:
        return []
    if reading.verdict == "incomplete" and reading.grid is None:
        return [f"so far d = {met[0]:,} meets the threshold"]
    fallen = [f"{d:,}" for d, reached in every if d > met[0] and not reached]
    return [f"not monotone: below the threshold again at d = {', '.join(fallen)}"] if fallen else []


def _choices(evidence: Evidence) -> Iterator[str]:
    """Yield notes on how the rates and lengths were chosen."""
    named = ((evidence.choice, "the series"), (evidence.full_choice, _FULL))
    known = [(choice, name) for choice, name in named if choice is not None]
    if alone := [name for choice, name in known if choice.rates == 1]:
        yield f"rates were not compared for {' and '.join(alone)}: one was tried"
    for choice, name in known:
        yield from _choice(choice, name)


def _choice(choice: Choice, name: str) -> Iterator[str]:
    rate = f"{choice.setting.rate:.3g}{' by the rule' if choice.setting.ruled else ''}"
    if choice.edge:
        yield f"the best rate of {name}, {rate}, is at the edge of the {choice.rates} tried"
    if choice.rising:
        yield f"{name} still improves with the longest training, {choice.setting.epochs} epochs"
    if choice.own_seeds:
        yield f"the rate of {name} was chosen on the seeds that report, if on other rows"


def _few_seeds(reading: Reading, evidence: Evidence) -> Iterator[str]:
    """Yield a note where one seed leaves the interval without a part, or there is none."""
    if reading.d90 is None:
        return
    if reading.level is None:
        yield "one seed at some d: no interval"
    elif len(evidence.full) == 1:
        yield f"{_FULL} has one seed: its variance is taken to be the runs'"


def _stuck(found: Estimate | None) -> list[str]:
    """Return a note on runs that did not leave the trivial score."""
    if found is None or not found.stuck:
        return []
    named = (
        f"{_FULL if run.d is None else f'd = {run.d:,}'} seed {run.seed}" for run in found.stuck
    )
    return [f"stuck at the trivial score and set aside: {'; '.join(named)}"]


def _head(series: Sequence[Measurement]) -> list[str]:
    """Return a note where d counts numbers of a head outside the subspace."""
    outside = max((run.record.outside or 0 for run in series), default=0)
    return [f"d counts {outside:,} numbers of a head outside the subspace"] if outside else []


def _repeated(*jobs: Jobs) -> list[str]:
    """Return a note on runs that were made again."""
    repeated = sum(one.repeated for one in jobs)
    again = "runs of one d, rate and seed were made more than once: the latest counts"
    return [f"{repeated} {again}"] if repeated else []
