"""Notes on a row: what its d90 rests on that a reader would not expect."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from said_lightning.analysis.measurements import Jobs, Measurement
from said_lightning.analysis.rates import Point
from said_lightning.analysis.reading import Reading
from said_lightning.runs.record import Record

_SHOWN = 3


def notes_on(
    reading: Reading,
    series: Jobs,
    full: Jobs,
    curve: Sequence[Point],
    baseline: Point | None,
) -> tuple[str, ...]:
    """Return the notes on a row: its missing runs, its doubts, and runs that do not compare."""
    return (
        *_missing(full.open, "full fine-tuning"),
        *_ended_early(full),
        *_missing(series.open, "runs"),
        *_doubts(reading, curve),
        *_one_seed(reading, baseline),
        *_head(series.done),
        *_mixtures(series.done, full.done),
    )


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


def _ended_early(full: Jobs) -> list[str]:
    """Return a note on full fine-tuning that was stopped before its last epoch."""
    note = "full fine-tuning ended before its time (trainer.stop_at)"
    return [note] if full.ended_early else []


def _doubts(reading: Reading, curve: Sequence[Point]) -> list[str]:
    """Return notes on a d that meets the threshold but need not be the answer."""
    level = reading.threshold
    met = [point.d for point in curve if level is not None and point.mean >= level]
    if not met or reading.verdict == "trivial":
        return []
    if reading.verdict == "incomplete":
        return [f"so far d = {met[0]:,} meets the threshold"]
    fallen = [f"{point.d:,}" for point in curve if point.d > met[0] and point.d not in met]
    return [f"not monotone: below the threshold again at d = {', '.join(fallen)}"] if fallen else []


def _one_seed(reading: Reading, baseline: Point | None) -> list[str]:
    """Return a note on an interval that rests on one seed of full fine-tuning."""
    if reading.level is None or baseline is None or len(baseline.values) > 1:
        return []
    return ["full fine-tuning has one seed: its variance is taken to be the runs'"]


def _head(series: Sequence[Measurement]) -> list[str]:
    """Return a note where d counts numbers of a head outside the subspace."""
    outside = max((run.record.outside or 0 for run in series), default=0)
    return [f"d counts {outside:,} numbers of a head outside the subspace"] if outside else []


def _mixtures(series: Sequence[Measurement], full: Sequence[Measurement]) -> list[str]:
    """Return notes on runs that differ in what must be the same for their metrics to compare."""
    subspace = [run.record for run in series]
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
        "setting (see config.yaml)": _known(r.setting_hash for r in every),
    }
    notes = [
        f"mixes runs of different {key}: {', '.join(sorted(f'{value!s:.12}' for value in values))}"
        for key, values in found.items()
        if len(values) > 1
    ]
    results: dict[tuple[str, int, float, int], set[float]] = defaultdict(set)
    for run in (*series, *full):
        results[run.record.method, run.d, run.lr, run.seed].add(run.value)
    repeated = sum(len(values) > 1 for values in results.values())
    if repeated:
        notes.append(f"averaged: runs of the same d, lr and seed that disagree ({repeated} such)")
    return notes


def _known(values: Iterable[object]) -> set[object]:
    """Return the values of a fact that older records leave open."""
    return {value for value in values if value is not None}
