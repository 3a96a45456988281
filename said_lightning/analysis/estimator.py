"""d90 of every series that the records of runs hold, with what it rests on.

d90 is the smallest number of trained numbers whose metric reaches 90 % of full fine-tuning's: from
Li et al. (arXiv:1804.08838); for language models arXiv:2012.13255, section 2.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, log
from statistics import fmean
from typing import Any

import numpy as np

from said_lightning.analysis.cells import DIGITS
from said_lightning.analysis.comparison import Comparison, Correlation, Subject, compare
from said_lightning.analysis.d90 import SHARE, Estimate
from said_lightning.analysis.measurements import Jobs, Measurement, reached, settle
from said_lightning.analysis.noise import Scores
from said_lightning.analysis.notes import notes_on
from said_lightning.analysis.price import WIDTH, price
from said_lightning.analysis.rates import Choice, Point, choose, tried
from said_lightning.analysis.reading import Ends, Evidence, Reading, read
from said_lightning.analysis.series import Series, series_of
from said_lightning.analysis.spread import Part
from said_lightning.analysis.stuck import Run
from said_lightning.errors import UserError
from said_lightning.runs.record import CHOOSING, Record
from said_lightning.runs.scores import read_scores

SHARES_OF_ROWS = ("accuracy", "exact_match")  # metrics whose scatter over rows is the binomial's


@dataclass(frozen=True, kw_only=True, slots=True)
class Row(Reading):
    """d90 of one series, the runs that differ in d, seed, rate and epochs alone.

    As a reading, the row is held against `threshold`, 0.9 of full fine-tuning's mean; `corrected`
    is the reading corrected for chance, whose threshold lies 90 % of the way from `trivial`, what
    the majority class scores, to full fine-tuning.

    `panel` says in which facts (weights, data, setting, protocol) the series and its full
    fine-tuning differ from those of the same names, and `variant` in which the series alone does;
    both are empty where the names say all. `rows` are those of the report.

    One rate and one number of epochs count for all d, chosen on select rows
    (said_lightning.analysis.rates), and one for full fine-tuning, `baseline`; `lr` is the rate at
    the d of `curve` next to d90. `tried` has every setting. `seeds` are the fewest behind a point
    of the curve. `planned` counts the jobs that report (d, setting, seed), `done` those with a
    metric.

    `parts` is the interval's width (high / low) from one source of noise alone, without those that
    leave an end open, `sensitivity` the fitted d at other shares of full fine-tuning's metric,
    `full_less` and `full_more` d90 were full fine-tuning one point (0.01) worse or better, `price`
    what a narrower interval costs.
    `comparisons` and `correlations` hold this series against others.
    """

    model: str
    task: str
    method: str
    projection: str | None
    space: str
    panel: str
    variant: str
    protocol: str | None
    step: str | None
    D: int | None
    metric: str | None
    rows: int | None
    baseline: Point | None
    trivial: float | None
    corrected: Reading
    lr: float | None
    epochs: int | None
    seeds: int
    done: int
    planned: int
    curve: tuple[Point, ...]
    tried: tuple[Point, ...]
    parts: Mapping[Part, float]
    sensitivity: Mapping[float, float]
    full_less: float | None
    full_more: float | None
    price: str | None
    comparisons: tuple[Comparison, ...] = ()
    correlations: tuple[Correlation, ...] = ()
    notes: tuple[str, ...]
    series: Series = field(compare=False, repr=False)

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
    """Return one row for each series, sorted by their names.

    The order of the records makes no difference. Runs of method full have no row of their own; they
    serve every series of their model, data and setting. Runs whose seeds are for choosing choose
    rates and lengths, and report nothing.
    """
    found = [_row(series) for series in series_of(records)]
    comparisons = compare([subject for _, subject in found])
    return [
        replace(row, comparisons=mine[0], correlations=mine[1])
        for (row, _), mine in zip(found, comparisons, strict=True)
    ]


def _row(series: Series) -> tuple[Row, Subject]:
    full, full_choice = _chosen(series.full, None)
    level = SHARE * fmean(run.select for run in full.done) if full.done else None
    mine, choice = _chosen(series.runs, level)
    begun = any(_is_begun(run) for run in series.full)
    evidence, unread = _evidence(mine, choice, full, full_choice, begun)
    (reading, one), (corrected, _) = read(evidence), read(evidence, corrected=True)
    every = _reporting(series.runs)
    line, every_point = _points(evidence, every)
    about = reading.d90 or reading.bracket[1] or reading.bracket[0]
    at = min(line, key=lambda point: abs(log(point.d / about)), default=None) if about else None
    done = len({(*_tried(run.record), run.seed) for run in every.done})
    model, task, method, projection, space = series.names
    row = Row(
        **{name: getattr(reading, name) for name in Reading.__slots__},
        model=model,
        task=task,
        method=method,
        projection=projection or None,
        space=space,
        panel=series.panel,
        variant=series.variant,
        **_facts(series, mine.done + full.done),
        corrected=corrected,
        baseline=_baseline(evidence),
        trivial=evidence.trivial,
        lr=at.lr if at else None,
        epochs=(at.epochs or None) if at else None,
        seeds=min((len(point.values) for point in line), default=0),
        done=done,
        planned=done + len(every.open),
        curve=line,
        tried=every_point,
        **_known(one, reading.interval),
        notes=notes_on(reading, evidence, every, series, one is not None, unread),
        series=series,
    )
    return row, Subject(row, evidence, one)


def _is_begun(full: Record) -> bool:
    """Return whether a run of full fine-tuning has chosen its rate, or is to come."""
    chose = full.status == "done" and full.seed >= CHOOSING
    return chose or full.status in ("running", "preempted", "waiting")


def _points(evidence: Evidence, every: Jobs) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    """Return the points at the setting that counts, and those at all; without stuck runs."""
    mine = evidence.series.done
    named = evidence.cells.stuck if evidence.full else ()
    stuck = {(id(run.record), run.d) for run in mine if Run(run.d, run.seed) in named}
    line, all_ = (
        tried(run for run in reached(runs) if (id(run.record), run.d) not in stuck)
        for runs in (mine, every.done)
    )
    return line, all_


def _tried(record: Record) -> tuple[int | None, float | None, int | None]:
    return record.d, record.lr, record.epochs


def _reporting(records: Iterable[Record]) -> Jobs:
    """Return the runs that report: those whose seeds are not for choosing."""
    return settle(run for run in records if run.seed < CHOOSING)


def _chosen(records: Sequence[Record], level: float | None) -> tuple[Jobs, Choice | None]:
    """Return the reporting runs at the setting that counts, and how it was chosen."""
    jobs = _reporting(records)
    choosing = settle(run for run in records if CHOOSING <= run.seed < 2 * CHOOSING)
    choice = choose(jobs.done, choosing.done, level)
    done = [run for run in jobs.done if choice is not None and run.setting == choice.setting]
    return jobs._replace(done=done), choice


def _evidence(
    mine: Jobs, choice: Choice | None, full: Jobs, full_choice: Choice | None, begun: bool
) -> tuple[Evidence, list[str]]:
    """Return what d90 is read from, and why scores of rows could not be read."""
    runs = reached(mine.done)
    metrics: list[Scores] = [run.value for run in (*runs, *full.done)]
    rows: list[Scores] = []
    unread: list[str] = []
    for run in (*runs, *full.done):
        try:
            found = _row_scores(run)
        except UserError as error:
            unread += error.messages
            break
        if found is None:
            break
        rows.append(found)
    # Either all runs have scores of rows, equally many, or all have metrics.
    alike = len({np.size(one) for one in rows}) <= 1
    scores = iter(rows if len(rows) == len(metrics) and alike else metrics)
    points: dict[int, dict[int, Scores]] = defaultdict(dict)
    for run in runs:
        points[run.d][run.seed] = next(scores)
    top = {run.seed: next(scores) for run in full.done}
    trivial, number = _trivial(full, mine), _share_of_rows([*runs, *full.done])
    evidence = Evidence(
        series=mine,
        top=full,
        points=points,
        full=top,
        choice=choice,
        full_choice=full_choice,
        trivial=trivial,
        rows=number,
        begun=begun,
    )
    return evidence, unread


def _row_scores(run: Measurement) -> Scores | None:
    """Return the scores of a run's report rows; None where it has none."""
    if run.record.stages or run.record.folder is None:
        return None
    return read_scores(run.record.folder, run.record)


def _share_of_rows(runs: Iterable[Measurement]) -> int | None:
    """Return the number of report rows, where the metric is a share of them."""
    parts = [run.record.report for run in runs if run.record.metric.name in SHARES_OF_ROWS]
    return max((part.rows for part in parts if part is not None), default=0) or None


def _baseline(evidence: Evidence) -> Point | None:
    """Return full fine-tuning at its setting, stuck runs set aside as in the threshold."""
    if not evidence.full:
        return None
    # Runs of other d and seeds would make another point each.
    point = tried(evidence.top.done)[-1]
    values = tuple(evidence.cells.full.values.tolist())
    return point._replace(mean=round(fmean(values), DIGITS), values=values)


def _trivial(full: Jobs, series: Jobs) -> float | None:
    scores = [run.record.metric.trivial for run in full.done or series.done]
    return max((round(score, DIGITS) for score in scores if score is not None), default=None)


def _facts(series: Series, runs: Sequence[Measurement]) -> dict[str, Any]:
    """Return what the records of a series and its full fine-tuning say of it."""
    records = [run.record for run in runs]
    weights = [run.D for run in series.full if run.D] or [run.D for run in series.runs if run.D]
    return {
        "protocol": series.fact("protocol"),
        "step": min((one.step for one in series.every if one.step), default=None),
        "D": max(weights, default=None),
        "metric": series.fact("metric"),
        "rows": max((one.report.rows for one in records if one.report), default=None),
    }


def _known(found: Estimate | None, ends: Ends) -> dict[str, Any]:
    """Return how well d90 is known, and what it hangs on."""
    if found is None:
        return {
            "parts": {},
            "sensitivity": {},
            **dict.fromkeys(("full_less", "full_more", "price")),
        }
    low, high = ends
    wide = low is None or high is None or high > WIDTH * low
    priced = wide and found.d90 is not None and found.level is not None
    return {
        "parts": {part: width for part, width in found.parts.items() if isfinite(width)},
        "sensitivity": found.sensitivity,
        "full_less": found.full_less,
        "full_more": found.full_more,
        "price": price(found, WIDTH).sentence if priced else None,
    }
