"""The sections on the metric of each series: over d, by layer, by learning rate."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from said_lightning.analysis.d90 import LEVEL
from said_lightning.analysis.estimator import Row
from said_lightning.analysis.plots import curves as curve_plots
from said_lightning.analysis.plots import facts
from said_lightning.analysis.plots.canvas import Plot
from said_lightning.analysis.rates import Point
from said_lightning.analysis.report.layout import Section, Table, name, score
from said_lightning.analysis.report.sources import Source, Sources, behind, cite, of_point


def curves(rows: Sequence[Row], sources: Sources) -> Section | None:
    """Return the metric at every d of every series, with its seeds."""
    text = (
        "Each point is the mean over seeds at the rate that was chosen, dots are the seeds. Lines "
        "mark full fine-tuning, the threshold and chance; below, d90 of each series with its "
        f"{LEVEL * 100:g} % interval."
    )
    lines = [
        (
            *(name(row), f"{point.d:,}", score(point.mean), str(len(point.values))),
            *(score(min(point.values)), score(max(point.values)), f"{point.lr:.3g}"),
            cite(of_point(sources, row, point)),
        )
        for row in rows
        for point in row.curve
    ]
    columns = ("series", "d", "metric", "seeds", "lowest", "highest", "lr", "runs")
    table = Table("Every point", columns, lines, long=True)
    looks = curve_plots.looks_of(rows)
    plots = [
        curve_plots.curves(panel, looks, cite(behind(sources, panel)))
        for panel in curve_plots.panels_of(rows)
    ]
    drawn = [plot for plot in plots if plot is not None]
    return Section("The metric over d", text, [table], drawn) if drawn else None


def scales(rows: Sequence[Row], sources: Sources) -> Section | None:
    """Return SAID's lambda by layer group; None where no run has any."""
    text = (
        "SAID learns one scale lambda for each group of layers, starting at 1. Its size shows how "
        "far the same theta moves that group, its sign which way: here the mean over seeds."
    )
    lines, drawn = [], []
    for row in rows:
        ended = {point: _ended_at(sources, row, point) for point in row.curve}
        lambdas = {point: scales_of(ended[point]) for point in row.curve}
        lambdas = {point: scales for point, scales in lambdas.items() if scales}
        if not lambdas:
            continue
        means = {
            p.d: {group: fmean(found) for group, found in scales.items()}
            for p, scales in lambdas.items()
        }
        shown = {run.number: run for point in lambdas for run in ended[point]}
        drawn.append(facts.heat(name(row), means, cite(shown.values())))
        about = row.d90 or row.bracket[1] or max(means)
        near = min(lambdas, key=lambda point: abs(math.log(point.d / about)))
        lines += [
            (
                *(name(row), f"{near.d:,}", group, f"{fmean(found):.3f}", f"{min(found):.3f}"),
                *(f"{max(found):.3f}", str(len(found)), cite(ended[near])),
            )
            for group, found in lambdas[near].items()
        ]
    columns = ("series", "d", "group", "lambda", "lowest", "highest", "seeds", "runs")
    table = Table("At the d next to d90, or else the largest", columns, lines, long=True)
    return Section("Which layers the task uses", text, [table], drawn) if drawn else None


def _ended_at(sources: Sources, row: Row, point: Point) -> list[Source]:
    """Return the runs that ended at a point; one whose d grew only passes its earlier points."""
    found = []
    for source in of_point(sources, row, point):
        reached = [stage.d for stage in source.record.stages if stage.value is not None]
        if not reached or reached[-1] == point.d:
            found.append(source)
    return found


def scales_of(sources: Iterable[Source]) -> dict[str, list[float]]:
    """Return each group's lambdas, signs kept, over the runs that record it."""
    values: dict[str, list[float]] = defaultdict(list)
    for source in sources:
        for group, facts_ in source.record.groups.items():
            if facts_.scale is not None:
                values[group].append(facts_.scale)
    return values


def rates(rows: Sequence[Row], sources: Sources) -> Section | None:
    """Return the metric at every learning rate; None where one was tried at each d."""
    several = [row for row in rows if len(row.tried) > len(row.curve) > 0]
    text = (
        "Every learning rate and number of epochs that reports, at each d. One of them counts for "
        "all d, chosen on the select rows; a ring marks it."
    )
    lines = [
        (
            *(name(row), f"{point.d:,}", score(point.mean), f"{point.lr:.3g}", str(point.epochs)),
            *(str(len(point.values)), "yes" if point in row.curve else "no"),
            cite(of_point(sources, row, point)),
        )
        for row in several
        for point in row.tried
    ]
    columns = ("series", "d", "metric", "lr", "epochs", "seeds", "counts", "runs")
    table = Table("Every rate", columns, lines, long=True)
    drawn = [_rates(row, sources) for row in several]
    return Section("Learning rates", text, [table], drawn) if drawn else None


def _rates(row: Row, sources: Sources) -> Plot:
    by_d: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for point in row.tried:
        by_d[point.d].append((point.lr, point.mean))
    counted = set(row.curve)
    several = {point.d: by_d[point.d] for point in row.tried if point not in counted}
    chosen = {point.d: point.lr for point in row.curve}
    runs = cite(behind(sources, [row]))
    return facts.rates(name(row), row.metric or "metric", several, chosen, runs)
