"""d90 against one threshold: fitted with its interval, and as the paper reads it from the grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from said_lightning.analysis.cells import Cells, settle
from said_lightning.analysis.d90 import SHARE, Estimate, allowed, estimate_of
from said_lightning.analysis.measurements import Jobs
from said_lightning.analysis.noise import Scores
from said_lightning.analysis.rates import Choice
from said_lightning.runs.record import Record

Verdict = Literal[
    "found", "edge", "nested", "trivial", "below-grid", "above-grid", "no-baseline", "incomplete"
]
Ends = tuple[int | None, int | None]
UNKNOWN: Ends = (None, None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """d90 against one threshold.

    `d90` is where a monotone fit in log d crosses `threshold` (said_lightning.analysis.d90), None
    out of the range that was run, and `interval` its 90 % interval over seeds and report rows,
    None for an open end; `level` is None, and both ends are, where no two runs differ in their seed
    alone. `grid` is the paper's reading, the smallest d whose mean over seeds meets the threshold,
    and `bracket` (low, high] where it may lie: low is the largest d that was run below.

    The verdict says how far d90 is known:
    - found: the fit crosses the threshold between two d that were run.
    - edge: as found, but the best rate of the series or of full fine-tuning is the smallest or
      largest that was tried.
    - below-grid, above-grid: all of the fit meets the threshold, none of it does.
    - nested: runs whose d grew meet it at a d, which is an upper bound: (None, d]. Where they do
      not, it is above-grid, and no bound on d90.
    - trivial: the threshold or full fine-tuning is no better than the majority class, so that d90
      would be 0.
    - no-baseline: no run of full fine-tuning in the series' own setting is done or to come.
    - incomplete: a run is missing that could change the answer, or ended before its time.
    """

    threshold: float | None
    verdict: Verdict
    d90: int | None = None
    interval: Ends = UNKNOWN
    level: float | None = None
    grid: int | None = None
    bracket: Ends = UNKNOWN


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What a series is read from: its runs at the setting that counts, and full fine-tuning's.

    points, full: the scores of the runs, by d and seed, and by seed. rows: of the report, where
    the scores are metrics that are shares of them. begun: whether a run of full fine-tuning is done
    or to come, if none that reports.
    """

    series: Jobs
    top: Jobs
    points: Mapping[int, Mapping[int, Scores]]
    full: Mapping[int, Scores]
    choice: Choice | None
    full_choice: Choice | None
    trivial: float | None
    rows: int | None
    begun: bool

    @property
    def regrets(self) -> tuple[float, float]:
        """How far the rates of the series and of full fine-tuning may be below their best."""
        choices = (self.choice, self.full_choice)
        first, second = (0.0 if one is None else one.regret for one in choices)
        return first, second

    @cached_property
    def cells(self) -> Cells:
        """The cells of the series, its stuck runs set aside."""
        return settle(self.points, self.full, SHARE, 0.0, self.trivial)

    @cached_property
    def corrected(self) -> Cells:
        """The cells against the threshold that is corrected for chance."""
        offset = (1 - SHARE) * (self.trivial or 0.0)
        return settle(self.points, self.full, SHARE, offset, self.trivial)


def read(found: Evidence, corrected: bool = False) -> tuple[Reading, Estimate | None]:
    """Return d90 against the threshold, or against the one corrected for chance."""
    top = found.top
    if not found.full:
        return Reading(threshold=None, verdict="incomplete" if found.begun else "no-baseline"), None
    cells = found.corrected if corrected else found.cells
    threshold, whole = cells.threshold, cells.full.mean
    if top.open or top.ended_early:
        return Reading(threshold=threshold, verdict="incomplete"), None
    if found.trivial is not None and min(whole, threshold) <= found.trivial:
        return Reading(threshold=threshold, verdict="trivial"), None
    grid = cells.d
    met = [d for d, reached in zip(grid, cells.met, strict=True) if reached]
    stopped = [run for run in found.series.done if run.stopped]
    undecided = [run.record for run in stopped if run.value < threshold]
    bracket = _bracket(grid, met, [*found.series.open, *undecided])
    if bracket is None or not grid:
        return Reading(threshold=threshold, verdict="incomplete"), None
    if any(run.record.stages for run in found.series.done):
        return _upper_bound(threshold, bracket), None
    by_grid = Reading(
        threshold=threshold,
        verdict="incomplete",
        grid=bracket[1] if None not in bracket else None,
        bracket=bracket,
    )
    return (by_grid, None) if stopped else _fitted(found, cells, by_grid)


def _fitted(found: Evidence, cells: Cells, by_grid: Reading) -> tuple[Reading, Estimate]:
    """Return the reading with its fit."""
    one = estimate_of(cells, found.rows)
    low, high = (None if end is None else round(end) for end in allowed(one, found.regrets))
    if one.level is None and one.d90 is None:
        low, high = by_grid.bracket
    edge, full_edge = (
        choice is not None and choice.edge for choice in (found.choice, found.full_choice)
    )
    made = Reading(
        threshold=by_grid.threshold,
        verdict=verdict_on(one, edge, full_edge),
        d90=None if one.d90 is None else round(one.d90),
        interval=(low, high),
        level=one.level,
        grid=by_grid.grid,
        bracket=by_grid.bracket,
    )
    return made, one


def verdict_on(found: Estimate, edge: bool, full_edge: bool) -> Verdict:
    """Return the verdict on a fit, the best rates of whose series or full one may be at an edge.

    A series that is below its range at the rate at hand is so at a better one.
    """
    if full_edge or (edge and not found.below):
        return "edge"
    return "below-grid" if found.below else "above-grid" if found.above else "found"


def _bracket(grid: Sequence[int], met: Sequence[int], missing: Sequence[Record]) -> Ends | None:
    """Return where the threshold lies on `grid`, of which `met` reach it; both ascend.

    None where a run is missing that could change it.
    """
    found = met[0] if met else None
    if any(run.d is None or found is None or run.d <= found for run in missing):
        return None
    if found is None:
        return (grid[-1], None) if grid else UNKNOWN
    below = [d for d in grid if d < found]
    return (below[-1] if below else None, found)


def _upper_bound(threshold: float, bracket: Ends) -> Reading:
    """Return the reading of runs whose d grew: d90 is at most where they met the threshold.

    From a warm start fewer numbers may do, so a d at which they failed is no bound.
    """
    met = bracket[1]
    if met is None:
        return Reading(threshold=threshold, verdict="above-grid")
    return Reading(threshold=threshold, verdict="nested", bracket=(None, met), interval=(None, met))
