"""The sections on the metric of each series: over d, by layer, by learning rate."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any

from said_lightning.analysis.d90 import LEVEL
from said_lightning.analysis.estimator import Row
from said_lightning.analysis.rates import Point
from said_lightning.analysis.report import figures
from said_lightning.analysis.report.layout import Section, Table, name, score
from said_lightning.analysis.report.sources import Source, Sources, cite, of_point


def curves(rows: Sequence[Row], sources: Sources) -> Section:
    """Return the metric at every d of every series, with its seeds."""
    text = (
        "The metric over d, each point the mean over seeds at the rate that was chosen, dots the "
        "seeds. Lines mark full fine-tuning, both thresholds and chance; a bar on a threshold is "
        f"the {LEVEL * 100:g} % interval of d90."
    )
    tables = [
        Table(
            name(row),
            ("d", row.metric or "metric", "seeds", "lowest", "highest", "lr", "runs"),
            [
                (
                    *(f"{point.d:,}", score(point.mean), str(len(point.values))),
                    *(score(min(point.values)), score(max(point.values)), f"{point.lr:.3g}"),
                    cite(of_point(sources, row, point)),
                )
                for point in row.curve
            ],
            long=True,
        )
        for row in rows
    ]
    return Section("The metric over d", text, tables, _each_task(rows, figures.curves))


def _each_task(
    rows: Sequence[Row], draw: Callable[[list[Row]], dict[str, Any] | None]
) -> list[dict[str, Any]]:
    by_task: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_task[row.model, row.task, row.panel].append(row)
    drawn = [draw(panel) for _, panel in sorted(by_task.items())]
    return [figure for figure in drawn if figure is not None]


def scales(rows: Sequence[Row], sources: Sources) -> Section:
    """Return SAID's lambda by layer group."""
    text = (
        "SAID learns one scale lambda for each group of layers, starting at 1. Its size shows how "
        "far the same theta moves that group: here the mean over seeds of |lambda|."
    )
    tables, drawn = [], []
    for row in rows:
        ended = {point: _ended_at(sources, row, point) for point in row.curve}
        lambdas = {point: mean_scales(ended[point]) for point in row.curve}
        lambdas = {point: scales for point, scales in lambdas.items() if scales}
        if not lambdas:
            continue
        drawn.append(figures.scales(name(row), {p.d: lambdas[p] for p in lambdas}))
        about = row.d90 or row.bracket[1] or max(point.d for point in lambdas)
        shown = min(lambdas, key=lambda point: abs(math.log(point.d / about)))
        tables.append(
            Table(
                f"{name(row)}, d = {shown.d:,}, next to d90" if row.d90 else name(row),
                ("group", "|lambda|", "runs"),
                [
                    (group, f"{scale:.3f}", cite(ended[shown]))
                    for group, scale in lambdas[shown].items()
                ],
                long=True,
            )
        )
    if not tables:
        text = "No run of SAID is done."
    return Section("Which layers the task uses", text, tables, drawn)


def _ended_at(sources: Sources, row: Row, point: Point) -> list[Source]:
    """Return the runs that ended at a point; one whose d grew only passes its earlier points."""
    found = []
    for source in of_point(sources, row, point):
        reached = [stage.d for stage in source.record.stages if stage.value is not None]
        if not reached or reached[-1] == point.d:
            found.append(source)
    return found


def mean_scales(sources: Iterable[Source]) -> dict[str, float]:
    """Return each group's mean absolute lambda over the runs that record it."""
    values: dict[str, list[float]] = defaultdict(list)
    for source in sources:
        for group, facts in source.record.groups.items():
            if facts.scale is not None:
                values[group].append(abs(facts.scale))
    return {group: fmean(found) for group, found in values.items()}


def rates(rows: Sequence[Row], sources: Sources) -> Section:
    """Return the metric at every learning rate, where several were tried."""
    several = [row for row in rows if len(row.tried) > len(row.curve)]
    text = (
        "Every learning rate and number of epochs that reports, at each d. One of them counts for "
        "all d, chosen on the select rows."
    )
    if not several:
        return Section("Learning rates", "One learning rate reports at each d.")
    tables = [
        Table(
            name(row),
            ("d", "lr", "epochs", row.metric or "metric", "seeds", "counts", "runs"),
            [
                (
                    *(f"{point.d:,}", f"{point.lr:.3g}", str(point.epochs), score(point.mean)),
                    *(str(len(point.values)), "yes" if point in row.curve else ""),
                    cite(of_point(sources, row, point)),
                )
                for point in row.tried
            ],
            long=True,
        )
        for row in several
    ]
    return Section(
        "Learning rates", text, tables, [figures.rates(name(row), row) for row in several]
    )
