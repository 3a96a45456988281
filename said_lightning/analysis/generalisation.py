"""How well a lane's runs at d90 generalise: section 5.3 of arXiv 2012.13255."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from said_lightning.analysis import figures
from said_lightning.analysis.d90 import Row
from said_lightning.analysis.lanes import drawn, grouped, reading
from said_lightning.analysis.parts import Section, Table, name, score
from said_lightning.analysis.sources import Source, cite, of_lane


@dataclass(frozen=True)
class Gap:
    """How the runs of a lane at its d90 do on the data they were trained on and on others.

    `relative` is (train - evaluation) / (1 - evaluation), as the paper's section 5.3 has it (?).
    """

    d: int
    train: float
    value: float
    runs: list[Source]

    @property
    def relative(self) -> float:
        """The relative generalisation gap."""
        return (self.train - self.value) / (1 - self.value) if self.value < 1 else 0.0


def gap(row: Row, sources: list[Source]) -> Gap | None:
    """Gives a lane's gap at its d90 on the grid; None where d90 or the training metric is open."""
    point = next((one for one in row.curve if one.d == row.bracket[1]), None)
    if point is None or not drawn(row):
        return None
    runs = [
        one
        for one in of_lane(sources, row)
        if (one.record.d, one.record.lr) == (point.d, point.lr) and one.record.status == "done"
    ]
    known = [one.record.train_metric.value for one in runs if one.record.train_metric]
    train = [value for value in known if value is not None]
    return Gap(point.d, fmean(train), point.mean, runs) if train else None


def generalisation(rows: Sequence[Row], sources: list[Source]) -> Section | None:
    """The section, where two lanes of one task or more have a d90."""
    gaps = [(row, found) for row in rows if (found := gap(row, sources)) is not None]
    by_task = grouped([row for row, _ in gaps], lambda row: (row.task,))
    if not by_task:
        return None
    text = (
        "At each lane's d90 on the grid: the metric on the training data (running over the last "
        "epoch, dropout on), on the evaluation data, and the relative gap between them, "
        "(train - evaluation) / (1 - evaluation), over the fitted d90."
    )
    table = Table(
        "Generalisation",
        ("lane", "d90", "d", "train", "evaluation", "relative gap", "runs"),
        [
            (
                *(name(row), reading(row), f"{one.d:,}", score(one.train), score(one.value)),
                *(f"{one.relative:.3f}", cite(one.runs)),
            )
            for row, one in gaps
        ],
    )
    plots = [
        _scatter(task, [(row, one) for row, one in gaps if row in found], what)
        for (task,), found in by_task.items()
        for what in ("relative gap", "evaluation")
    ]
    return Section("Generalisation over d90", text, [table], plots)


def _scatter(task: str, gaps: list[tuple[Row, Gap]], what: str) -> dict[str, Any]:
    values = [one.relative if what == "relative gap" else one.value for _, one in gaps]
    data = {
        "type": "scatter",
        "mode": "markers",
        "name": task,
        "x": [row.fitted for row, _ in gaps],
        "y": values,
        "text": [name(row) for row, _ in gaps],
        "hovertemplate": "%{text}<br>d90 %{x:,}<br>%{y:.4f}<extra></extra>",
        "marker": {"color": figures.COLOURS[0], "size": 10},
    }
    axes = ("d90, fitted (log scale)", what)
    layout = figures.log_layout(f"{task}: {what} over d90", *axes, ("xaxis",))
    return {"data": [data], "layout": layout}
