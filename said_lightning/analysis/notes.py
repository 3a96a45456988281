"""Notes on a row: what its d90 rests on that a reader would not expect."""

from collections.abc import Iterator, Sequence

from said_lightning.analysis.cells import falls, open_ends
from said_lightning.analysis.measurements import Jobs, Measurement, Setting
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
    fitted: bool,
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
        *_open_ends(reading, evidence),
        *_left_out(every, evidence),
        *_choices(evidence, reading),
        *(_few_seeds(reading, evidence) if fitted else ()),
        *(_stuck(evidence) if evidence.full else ()),
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
            f"runs that trainer.stop_at ended ({len(stopped)} such): d90 is not fitted, and the "
            "paper's reading holds"
        )


def _only_chosen(every: Jobs, series: Series) -> list[str]:
    """Return a note where runs chose rates or a range of d, and none reports."""
    chose = sum(run.seed >= CHOOSING and run.status == "done" for run in series.runs)
    if not chose or every.done or every.open:
        return []
    return [f"{chose} runs chose rates or where d90 lies, and none reports yet"]


def _doubts(reading: Reading, evidence: Evidence) -> list[str]:
    """Return notes on a d that meets the threshold but need not be the answer."""
    if reading.threshold is None or reading.verdict == "trivial" or not evidence.points:
        return []
    cells = evidence.cells
    every = list(zip(cells.d, cells.met, strict=True))
    notes = falls(evidence.points, reading.threshold)
    met = [d for d, reached in every if reached]
    if not met:
        return notes
    if reading.verdict == "incomplete" and reading.grid is None:
        return [*notes, f"so far d = {met[0]:,} meets the threshold"]
    again = [f"{d:,}" for d, reached in every if d > met[0] and not reached]
    if again:
        notes.append(f"not monotone: below the threshold again at d = {', '.join(again)}")
    return notes


def _open_ends(reading: Reading, evidence: Evidence) -> Iterator[str]:
    """Yield a note on each open end of the interval, once all runs are done."""
    if reading.d90 is not None and reading.level is not None and not evidence.series.open:
        yield from open_ends(sorted(evidence.points), reading.interval)


def _left_out(every: Jobs, evidence: Evidence) -> list[str]:
    """Return a note on d that were run, but not at the rate and length that count."""
    left = {run.d for run in every.done} - {run.d for run in evidence.series.done}
    shown = ", ".join(f"{d:,}" for d in sorted(left)[:_SHOWN])
    more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    what = "run at other rates or lengths alone, which do not count"
    return [f"{what}: d = {shown}{more}"] if left else []


def _choices(evidence: Evidence, reading: Reading) -> Iterator[str]:
    """Yield notes on how the rates and lengths were chosen."""
    named = ((evidence.choice, "the series"), (evidence.full_choice, _FULL))
    known = [(choice, name) for choice, name in named if choice is not None]
    if alone := [name for choice, name in known if choice.rates == 1]:
        yield f"rates were not compared for {' and '.join(alone)}: one was tried"
    for choice, name in known:
        yield from _choice(choice, name)
        if choice.seeds == 1 < choice.rates and reading.level is not None:
            yield f"one seed compared the rates of {name}: what they may lack is in no interval"


def _choice(choice: Choice, name: str) -> Iterator[str]:
    if choice.edge:
        rate = _rate(choice.setting)
        yield f"the best rate of {name}, {rate}, is at the edge of the {choice.rates} tried"
    if choice.better:
        yield f"no run of {name} reports at its best rate: {_named(choice)}"
    if choice.rising:
        yield f"{name} still improves with the longest training, {choice.setting.epochs} epochs"
    if choice.own_seeds:
        yield f"the rate of {name} was chosen on the seeds that report, if on other rows"


def _rate(setting: Setting) -> str:
    return f"{setting.rate:.3g}{' by the rule' if setting.ruled else ''}"


def _named(choice: Choice) -> str:
    """Return the setting that was better than the one that counts, beside it."""
    pair = [one for one in (choice.better, choice.setting) if one is not None]
    epochs = len({one.epochs for one in pair}) > 1
    first, *second = (_rate(one) + (f" for {one.epochs} epochs" if epochs else "") for one in pair)
    return f"{first} was better on the select rows than {' '.join(second)}"


def _few_seeds(reading: Reading, evidence: Evidence) -> Iterator[str]:
    """Yield a note where one seed leaves the interval without a part, or there is none."""
    if reading.level is None:
        yield "one seed at each d: no interval"
    elif len(evidence.full) == 1:
        yield f"{_FULL} has one seed: its variance is taken to be the runs'"


def _stuck(evidence: Evidence) -> list[str]:
    """Return a note on runs that did not leave the trivial score."""
    named = [
        f"{_FULL if run.d is None else f'd = {run.d:,}'} seed {run.seed}"
        for run in evidence.cells.stuck
    ]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    shown = "; ".join(named[:_SHOWN])
    return [f"stuck at the trivial score and set aside: {shown}{more}"] if named else []


def _head(series: Sequence[Measurement]) -> list[str]:
    """Return a note where d counts numbers of a head outside the subspace."""
    outside = max((run.record.outside or 0 for run in series), default=0)
    return [f"d counts {outside:,} numbers of a head outside the subspace"] if outside else []


def _repeated(*jobs: Jobs) -> list[str]:
    """Return a note on runs that were made again."""
    repeated = sum(one.repeated for one in jobs)
    again = "runs of one d, rate and seed were made more than once"
    return [f"{again} ({repeated} such): the latest counts"] if repeated else []
