"""d90 against one threshold, read from the grid as the paper does and from a monotone fit."""

from dataclasses import dataclass
from typing import Literal

from said_lightning.analysis.interval import LEVEL, Fit, Levels, fit
from said_lightning.analysis.measurements import Jobs
from said_lightning.analysis.rates import DIGITS, Point
from said_lightning.runs.record import Record

SHARE = 0.9

Verdict = Literal[
    "found", "nested", "trivial", "below-grid", "above-grid", "no-baseline", "incomplete"
]
Bracket = tuple[int | None, int | None]
_UNKNOWN: Bracket = (None, None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """d90 against one threshold, read twice: from the grid as the paper does, and from a fit.

    `d90` is the grid's smallest d whose mean over seeds meets `threshold`, and `bracket` (low,
    high] where it may lie: low is the largest d that was run below d90. None marks an end that the
    grid leaves open.

    `fitted` is where a monotone fit in log d crosses the threshold (analysis/interval.py), None
    out of the range that was run. `interval` is its 90 % interval, from a bootstrap over the seeds
    of baseline and subspace runs alike. Where no two runs differ in their seed alone, `level` is
    None and `interval` is the bracket: it holds no seed variance.

    The verdict says how far `d90` is known; it is a number for `found` alone:
    - found: the grid's smallest d that meets the threshold, with one below that does not.
    - nested: runs whose d grew meet it at a d, so d90 is at most that: (None, d]. Where they do
      not, it is above-grid, and no bound on d90.
    - below-grid: the smallest d of the grid meets it, so d90 is at most that: (None, d].
    - above-grid: no d of the grid meets it: (d, None].
    - trivial: the threshold or the full metric lies at or below the majority class's score, so
      that d90 would be 0.
    - no-baseline: no run of full fine-tuning is done, and none is under way.
    - incomplete: a run is missing that could change the answer, or ended below the threshold
      before its time.
    """

    threshold: float | None
    verdict: Verdict
    d90: int | None
    bracket: Bracket
    fitted: int | None
    interval: Bracket
    level: float | None


def read(
    levels: Levels,
    series: Jobs,
    full: Jobs,
    curve: tuple[Point, ...],
    baseline: Point | None,
    trivial: float | None,
) -> Reading:
    """Return d90 against the threshold at `levels`, from the curve of a series and its baseline."""
    if baseline is None:
        return _open(None, _without_baseline(full))
    threshold = round(levels.share * baseline.mean + levels.offset, DIGITS)
    if full.open or full.ended_early:
        return _open(threshold, "incomplete")
    if trivial is not None and min(baseline.mean, threshold) <= trivial:
        return _open(threshold, "trivial")
    if not curve:
        return _open(threshold, "incomplete")
    over = [run.value - threshold for run in series.done if run.stopped]
    undecided = [run.record for run in series.done if run.stopped and run.value < threshold]
    met = [point.d for point in curve if point.mean >= threshold]
    verdict, bracket = _bracket([point.d for point in curve], met, [*series.open, *undecided])
    values = [(point.d, point.values) for point in curve]
    found = Fit(None, None)
    if nested := any(run.record.stages for run in series.done):
        verdict, bracket = _upper_bound(verdict, bracket)
    if not undecided and not nested:
        found = fit(values, baseline.values, levels, min(over, default=None))
    low, high = (_whole(end) for end in found.interval or bracket)
    return Reading(
        threshold=threshold,
        verdict=verdict,
        d90=bracket[1] if verdict == "found" else None,
        bracket=bracket,
        fitted=_whole(found.d),
        interval=(low, high),
        level=LEVEL if found.interval else None,
    )


def _whole(d: float | int | None) -> int | None:
    return None if d is None else round(d)


def _open(threshold: float | None, verdict: Verdict) -> Reading:
    """Return a reading without a d."""
    return Reading(
        threshold=threshold,
        verdict=verdict,
        d90=None,
        bracket=_UNKNOWN,
        fitted=None,
        interval=_UNKNOWN,
        level=None,
    )


def _without_baseline(full: Jobs) -> Verdict:
    """Return the verdict where no full fine-tuning is done: incomplete while one is under way."""
    under_way = any(run.status in ("running", "preempted") for run in full.open)
    return "incomplete" if under_way else "no-baseline"


def _bracket(grid: list[int], met: list[int], missing: list[Record]) -> tuple[Verdict, Bracket]:
    """Return where the threshold lies on `grid`, of which `met` reach it; both ascend."""
    found = met[0] if met else None
    if any(run.d is None or found is None or run.d <= found for run in missing):
        return "incomplete", _UNKNOWN
    if found is None:
        return "above-grid", (grid[-1], None)
    below = grid[: grid.index(found)]
    return ("found", (below[-1], found)) if below else ("below-grid", (None, found))


def _upper_bound(verdict: Verdict, bracket: Bracket) -> tuple[Verdict, Bracket]:
    """Return the verdict on runs whose d grew: d90 is at most where they met the threshold.

    From a warm start fewer numbers may do, so a d at which they failed is no bound.
    """
    met = bracket[1]
    return (verdict, _UNKNOWN) if met is None else ("nested", (None, met))
