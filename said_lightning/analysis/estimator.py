"""d90: the smallest d whose metric reaches 90 % of full fine-tuning's.

From Li et al. (arXiv:1804.08838); for language models arXiv:2012.13255, section 2.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from said_lightning.analysis.interval import Levels
from said_lightning.analysis.measurements import Jobs, Measurement, reached, settle
from said_lightning.analysis.notes import notes_on
from said_lightning.analysis.rates import DIGITS, Point, best, curve, tried
from said_lightning.analysis.reading import SHARE, Reading, read
from said_lightning.runs.record import CHOOSING, Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Row(Reading):
    """d90 of one series, the runs of one (model, task, method, projection, space).

    As a reading, the row is the paper's: `threshold` is 0.9 of the baseline's mean. `corrected` is
    the reading corrected for chance, whose threshold lies 90 % of the way from `trivial`, what the
    majority class scores, to full fine-tuning.

    Of several learning rates one counts, chosen by one rule (said_lightning.analysis.rates.best)
    at each d of `curve` and for full fine-tuning, `baseline`. `tried` has them all. `lr` is the
    rate at d90, and `seeds` the fewest seeds behind a point of the curve.

    `planned` counts the jobs (d, lr, seed), and `done` those with a metric.
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
    """Return one row for each (model, task, method, projection, space), sorted by their names.

    The order of the records makes no difference. Runs of method full have no row of their own; they
    serve every row of their (model, task).
    """
    series: dict[tuple[str, str, str, str, str], list[Record]] = defaultdict(list)
    baselines: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for one in records:
        if one.seed >= CHOOSING:
            continue  # It chose a rate, a length or a range of d, and reports nothing.
        if one.method == "full":
            baselines[one.model, one.task].append(one)
        else:
            series[one.model, one.task, one.method, one.projection or "", one.space].append(one)
    # Sorted before too, since names that differ in a leading 0 alone have one key.
    ordered = sorted(sorted(series), key=lambda key: [_natural(name) for name in key])
    return [_row(settle(series[key]), settle(baselines[key[:2]])) for key in ordered]


def _natural(name: str) -> list[str | int]:
    """Return a key that sorts step 300 before step 10000."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _row(series: Jobs, full: Jobs) -> Row:
    one = series.done[0].record if series.done else series.open[0]
    points = tried(reached(series.done))
    steps = {(run.d, run.lr): run.step for run in series.done}
    line = curve(points, lambda point: steps[point.d, point.lr])
    baseline = best(tried(full.done)) if full.done else None
    trivial = _trivial(full, series)
    raw = read(Levels(SHARE, 0), series, full, line, baseline, trivial)
    toward = Levels(SHARE, (1 - SHARE) * (trivial or 0.0))
    done = len({(run.record.d, run.record.lr, run.seed) for run in series.done})
    return Row(
        **{name: getattr(raw, name) for name in Reading.__slots__},
        corrected=read(toward, series, full, line, baseline, trivial),
        model=one.model,
        task=one.task,
        method=one.method,
        projection=one.projection,
        space=one.space,
        metric=_metric_name(full.done or series.done),
        baseline=baseline,
        trivial=trivial,
        lr=next((point.lr for point in line if point.d == raw.d90), None),
        seeds=min((len(point.values) for point in line), default=0),
        done=done,
        planned=done + len(series.open),
        curve=line,
        tried=points,
        notes=notes_on(raw, series, full, line, baseline),
    )


def _trivial(full: Jobs, series: Jobs) -> float | None:
    scores = [run.record.metric.trivial for run in full.done or series.done]
    return max((round(score, DIGITS) for score in scores if score is not None), default=None)


def _metric_name(done: Iterable[Measurement]) -> str | None:
    """Return the metric's name; several names, joined, where runs disagree."""
    return " | ".join(sorted({run.record.metric.name or "?" for run in done})) or None
