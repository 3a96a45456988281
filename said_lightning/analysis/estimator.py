"""d90: the smallest d whose metric reaches 90 % of full fine-tuning's.

From Li et al. (arXiv:1804.08838); for language models arXiv:2012.13255, section 2.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from said_lightning.analysis.interval import LEVEL, Fit, Levels, fit
from said_lightning.analysis.measurements import (
    Jobs,
    head,
    metric_name,
    missing,
    mixtures,
    reached,
    settle,
)
from said_lightning.analysis.rates import DIGITS, Point, best, curve, tried
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
      not, it is above-grid, and says nothing of d90.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Row(Reading):
    """What the runs of one (model, task, method, projection, space) say of d90.

    As a reading, the row is the paper's: `threshold` is 0.9 of the baseline's mean. `corrected` is
    the one corrected for chance, whose threshold lies 90 % of the way from `trivial`, what the
    majority class scores, to full fine-tuning.

    Of several learning rates one counts, chosen by one rule (said_lightning.analysis.rates.best)
    at each d of `curve` and for full fine-tuning, `baseline`. `tried` has them all. `lr` is the
    rate at d90, and `seeds` the fewest seeds behind a point of the curve.

    `planned` counts the jobs (d, lr, seed) that were begun, and `done` those with a metric.
    """

    model: str
    task: str
    method: str
    projection: str | None
    space: str
    metric: str | None
    baseline: Point | None
    trivial: float | None
    corrected: Reading
    lr: float | None
    seeds: int
    done: int
    planned: int
    curve: tuple[Point, ...]
    tried: tuple[Point, ...]
    notes: tuple[str, ...]

    @property
    def full(self) -> float | None:
        """The metric of full fine-tuning, mean over seeds."""
        return self.baseline.mean if self.baseline else None

    @property
    def map(self) -> str:
        """The projection, and the space that it lies in where that is not all weights."""
        inside = "" if self.space == "all" else f" ({self.space})"
        return f"{self.projection or ''}{inside}".strip()


def estimate(records: Iterable[Record]) -> list[Row]:
    """One row for each (model, task, method, projection, space), sorted, whatever the order.

    Runs of method full make no row; they serve every row of their (model, task).
    """
    lanes: dict[tuple[str, str, str, str, str], list[Record]] = defaultdict(list)
    baselines: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.method == "full":
            baselines[record.model, record.task].append(record)
        else:
            one = (record.model, record.task, record.method, record.projection or "", record.space)
            lanes[one].append(record)
    # Sorted before too, since names that differ in a leading 0 alone have one key.
    ordered = sorted(sorted(lanes), key=lambda lane: [_natural(name) for name in lane])
    return [_row(settle(lanes[lane]), settle(baselines[lane[:2]])) for lane in ordered]


def _natural(name: str) -> list[str | int]:
    """A key that sorts step 300 before step 10000."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _row(lane: Jobs, full: Jobs) -> Row:
    one = lane.done[0].record if lane.done else lane.open[0]
    points = tried(reached(lane.done))
    steps = {(run.d, run.lr): run.step for run in lane.done}
    line = curve(points, lambda point: steps[point.d, point.lr])
    baseline = best(tried(full.done)) if full.done else None
    trivial = _trivial(full, lane)
    raw = _read(Levels(SHARE, 0), lane, full, line, baseline, trivial)
    toward = Levels(SHARE, (1 - SHARE) * (trivial or 0.0))
    corrected = _read(toward, lane, full, line, baseline, trivial)
    done = len({(run.record.d, run.record.lr, run.seed) for run in lane.done})
    return Row(
        **{name: getattr(raw, name) for name in Reading.__slots__},
        corrected=corrected,
        model=one.model,
        task=one.task,
        method=one.method,
        projection=one.projection,
        space=one.space,
        metric=metric_name(full.done or lane.done),
        baseline=baseline,
        trivial=trivial,
        lr=next((point.lr for point in line if point.d == raw.d90), None),
        seeds=min((len(point.values) for point in line), default=0),
        done=done,
        planned=done + len(lane.open),
        curve=line,
        tried=points,
        notes=(
            *missing(full.open, "full fine-tuning"),
            *_stopped(full),
            *missing(lane.open, "runs"),
            *_doubts(raw, line),
            *_seeds(raw, baseline),
            *head(lane.done),
            *mixtures(lane.done, full.done),
        ),
    )


def _trivial(full: Jobs, lane: Jobs) -> float | None:
    scores = [run.record.metric.trivial for run in full.done or lane.done]
    return max((round(score, DIGITS) for score in scores if score is not None), default=None)


def _read(
    levels: Levels,
    lane: Jobs,
    full: Jobs,
    line: tuple[Point, ...],
    baseline: Point | None,
    trivial: float | None,
) -> Reading:
    if baseline is None:
        return _open(None, _wait(full))
    threshold = round(levels.share * baseline.mean + levels.offset, DIGITS)
    if full.open or _stopped(full):
        return _open(threshold, "incomplete")
    if trivial is not None and min(baseline.mean, threshold) <= trivial:
        return _open(threshold, "trivial")
    if not line:
        return _open(threshold, "incomplete")
    over = [run.value - threshold for run in lane.done if run.stopped]
    undecided = [run.record for run in lane.done if run.stopped and run.value < threshold]
    met = [point.d for point in line if point.mean >= threshold]
    verdict, bracket = _search([point.d for point in line], met, [*lane.open, *undecided])
    values = [(point.d, point.values) for point in line]
    found = Fit(None, None)
    if nested := any(run.record.stages for run in lane.done):
        verdict, bracket = _bound(verdict, bracket)
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
    """A reading that gives no d."""
    return Reading(
        threshold=threshold,
        verdict=verdict,
        d90=None,
        bracket=_UNKNOWN,
        fitted=None,
        interval=_UNKNOWN,
        level=None,
    )


def _wait(full: Jobs) -> Verdict:
    """Whether a threshold is still to be hoped for, where full fine-tuning gives none yet."""
    hope = any(run.status in ("running", "preempted") for run in full.open)
    return "incomplete" if hope else "no-baseline"


def _search(grid: list[int], met: list[int], missing: list[Record]) -> tuple[Verdict, Bracket]:
    """Where the threshold lies on `grid`, whose `met` reach it; both ascend."""
    found = met[0] if met else None
    if any(run.d is None or found is None or run.d <= found for run in missing):
        return "incomplete", _UNKNOWN
    if found is None:
        return "above-grid", (grid[-1], None)
    below = grid[: grid.index(found)]
    return ("found", (below[-1], found)) if below else ("below-grid", (None, found))


def _bound(verdict: Verdict, bracket: Bracket) -> tuple[Verdict, Bracket]:
    """What the grid of runs whose d grew says: d90 is at most where they met the threshold.

    From a warm start fewer numbers may do, so where they failed says nothing.
    """
    met = bracket[1]
    return (verdict, _UNKNOWN) if met is None else ("nested", (None, met))


def _stopped(full: Jobs) -> list[str]:
    """A note on full fine-tuning that was not let go on."""
    stopped = any(run.stopped for run in full.done)
    return ["full fine-tuning ended before its time (trainer.stop_at)"] if stopped else []


def _doubts(raw: Reading, line: tuple[Point, ...]) -> list[str]:
    """Notes on a d that meets the threshold but need not be the answer."""
    level = raw.threshold
    met = [point.d for point in line if level is not None and point.mean >= level]
    if not met or raw.verdict == "trivial":
        return []
    if raw.verdict == "incomplete":
        return [f"so far d = {met[0]:,} meets the threshold"]
    fallen = [f"{point.d:,}" for point in line if point.d > met[0] and point.d not in met]
    return [f"not monotone: below the threshold again at d = {', '.join(fallen)}"] if fallen else []


def _seeds(raw: Reading, baseline: Point | None) -> list[str]:
    """A note on an interval for which one seed of full fine-tuning had to do."""
    if raw.level is None or baseline is None or len(baseline.values) > 1:
        return []
    return ["full fine-tuning has one seed: its variance is taken to be the runs'"]
