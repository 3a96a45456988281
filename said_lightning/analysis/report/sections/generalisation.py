"""The section on how well the runs at d90 generalise: section 5.3 of arXiv 2012.13255."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.measurements import measure
from said_lightning.analysis.plots.facts import lines
from said_lightning.analysis.report.layout import Section, Table, name, score
from said_lightning.analysis.report.series_view import drawn, grouped, reading
from said_lightning.analysis.report.sources import Source, Sources, cite, of_point, of_series
from said_lightning.errors import UserError
from said_lightning.runs.certificate import CERTIFICATE, read
from said_lightning.runs.record import Record


@dataclass(frozen=True)
class Gap:
    """The metric of a series' runs at its d90, on the data they were trained on and on others.

    `relative` is (train - evaluation) / (1 - evaluation).
    """

    d: int
    train: float
    value: float
    certified: float | None
    runs: list[Source]

    @property
    def relative(self) -> float:
        """The relative generalisation gap."""
        return (self.train - self.value) / (1 - self.value) if self.value < 1 else 0.0


MEASURES: dict[str, Callable[[Gap], float | None]] = {
    "relative gap": lambda one: one.relative,
    "evaluation": lambda one: one.value,
    "certified error": lambda one: one.certified,
}


def gap(row: Row, sources: Sources) -> Gap | None:
    """Return a series' gap at its the paper's d90; None where d90 or the training metric is open.

    A run that ended once it met the threshold, as in a search, was not trained as the others were.
    """
    point = next((one for one in row.curve if one.d == row.bracket[1]), None)
    if point is None or not drawn(row):
        return None
    runs = [one for one in of_point(sources, row, point) if to_the_end(one.record)]
    known = [one.record.train_metric.value for one in runs if one.record.train_metric]
    train = [value for value in known if value is not None]
    if not train:
        return None
    evaluation = fmean(done.value for one in runs for done in measure(one.record))
    return Gap(point.d, fmean(train), evaluation, certified(row, sources), runs)


def to_the_end(record: Record) -> bool:
    """Return whether a run was trained to its last epoch."""
    return not any(done.stopped for done in measure(record))


def certified(row: Row, sources: Sources) -> float | None:
    """Return the lowest certified error of a series' runs; None where none is certified."""
    bounds = []
    for source in of_series(sources, row):
        path = source.record.folder and source.record.folder / CERTIFICATE
        # One that cannot be read is listed in the section on certificates.
        with suppress(UserError):
            bounds += [read(path).bound] if path and path.exists() else []
    return min(bounds, default=None)


def generalisation(rows: Sequence[Row], sources: Sources) -> Section | None:
    """Return the section, where at least two series of one task have a d90."""
    gaps = [(row, found) for row in rows if (found := gap(row, sources)) is not None]
    by_task = grouped([row for row, _ in gaps], lambda row: (row.task,))
    if not by_task:
        return None
    text = (
        "At each series' d90 as the paper reads it: the metric on the training data (running over "
        "the last epoch, dropout on), on the evaluation data, and the relative gap between them, "
        "(train - evaluation) / (1 - evaluation), over d90. Runs that ended before "
        "their time, as a search's do, are left out. Where runs of the series are "
        "certified, at any d, the lowest certified error."
    )
    table = Table(
        "Generalisation",
        ("series", "d90", "d", "train", "evaluation", "relative gap", "certified error", "runs"),
        [
            (
                *(name(row), reading(row), f"{one.d:,}", score(one.train), score(one.value)),
                *(f"{one.relative:.3f}", score(one.certified), cite(one.runs)),
            )
            for row, one in gaps
        ],
    )
    plots = []
    for (task,), series in by_task.items():
        here = [(row, one) for row, one in gaps if row in series]
        runs = cite({run.number: run for _, one in here for run in one.runs}.values())
        for what, value in MEASURES.items():
            pairs = [(row.d90 or 0, value(one)) for row, one in here]
            known = sorted((d, number) for d, number in pairs if number is not None)
            axes = ("d90 (log scale)", what)
            if known:
                title = f"{task}: {what} over d90"
                plots.append(lines(title, axes, {what: known}, runs, over_d=True, joined=False))
    return Section("Generalisation over d90", text, [table], plots)
