"""What a report says, as sections of tables and figures, whatever file it is written to."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from said_lightning.analysis import accounts, figures
from said_lightning.analysis.d90 import SHARE, Reading, Row
from said_lightning.analysis.fit import LEVEL
from said_lightning.analysis.parts import Section, Table, name, score
from said_lightning.analysis.points import Point
from said_lightning.analysis.sources import Source, cite, number, of_full, of_lane
from said_lightning.analysis.studies import studies
from said_lightning.analysis.table import bracket, estimate_of
from said_lightning.runs.record import Record


def build(rows: Sequence[Row], records: Sequence[Record], root: Path) -> list[Section]:
    """Gives a report's sections; the same runs give the same sections."""
    sources = number(records, root)
    return [
        _answer(rows, sources),
        _curves(rows, sources),
        *studies(rows, sources),
        _scales(rows, sources),
        _rates(rows, sources),
        accounts.cost(rows, sources),
        accounts.failed(sources),
        accounts.provenance(sources),
    ]


def _answer(rows: Sequence[Row], sources: list[Source]) -> Section:
    text = (
        f"d90 is the smallest number of trained numbers d whose metric reaches {SHARE * 100:g} % "
        "of full fine-tuning's. On the grid it is the smallest d that does (mean over seeds, best "
        "learning rate), with the bracket (largest d below, d90]; fitted it is where a monotone "
        f"fit in log d crosses the threshold, with its {LEVEL * 100:g} % interval in square "
        "brackets, from a bootstrap over the seeds of full fine-tuning and subspace runs. "
        "Corrected for chance, the threshold lies "
        f"{SHARE * 100:g} % of the way from what a constant answer scores to full fine-tuning. "
        "Numbers of runs refer to the last section."
    )
    lanes = Table(
        "Every lane",
        (
            *("model", "task", "method", "metric", "full", "chance", "threshold", "verdict"),
            *("d90, grid", "d90, fitted", "threshold, corrected", "d90, corrected", "seeds"),
            *("runs", "full: runs"),
        ),
        [
            (
                *(row.model, row.task, _method(row), row.metric or "?", score(row.full)),
                *(score(row.trivial), score(row.threshold), row.verdict, bracket(row)),
                *(_fitted(row), score(row.corrected.threshold), _fitted(row.corrected)),
                *(str(row.seeds), cite(of_lane(sources, row)), cite(of_full(sources, row))),
            )
            for row in rows
        ],
    )
    notes = [(name(row), note) for row in rows for note in row.notes]
    told = [Table("What to know about them", ("lane", "note"), notes)] if notes else []
    return Section("d90", text, [table_1(rows), lanes, *told])


def table_1(rows: Sequence[Row]) -> Table:
    """Gives d90 in the form of Table 1 of arXiv 2012.13255: models by method and task."""
    columns = sorted({(_method(row), row.task) for row in rows}, key=lambda c: (c[0], c[1]))
    cells = {(row.model, _method(row), row.task): row for row in rows}
    lines = [
        (
            model,
            *(_cell(cells.get((model, method, task))) for method, task in columns),
        )
        for model in sorted({row.model for row in rows})
    ]
    heads = tuple(f"{method} {task}" for method, task in columns)
    return Table("d90 on the grid, and fitted with its interval", ("model", *heads), lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    grid = f"{row.d90:,}" if row.d90 is not None else estimate_of(row)
    return grid if row.d90 is None or row.fitted is None else f"{grid} (fitted {estimate_of(row)})"


def _fitted(reading: Reading) -> str:
    if reading.fitted is None or reading.level is not None:
        return estimate_of(reading)
    return f"{estimate_of(reading)} (one seed, no seed variance)"


def _method(row: Row) -> str:
    """The method as the paper writes it; its projection where it is not the paper's."""
    inside = None if row.space == "all" else row.space
    other = row.projection if row.projection != "fastfood" else None
    told = ", ".join(part for part in (other, inside) if part)
    return row.method.upper() + (f" ({told})" if told else "")


def _curves(rows: Sequence[Row], sources: list[Source]) -> Section:
    text = (
        "The metric over d, each point the mean over seeds at its best learning rate, dots the "
        "seeds. Lines mark full fine-tuning, both thresholds and chance; a bar on a threshold is "
        f"the {LEVEL * 100:g} % interval of the fitted d90."
    )
    tables = [
        Table(
            name(row),
            ("d", row.metric or "metric", "seeds", "lowest", "highest", "lr", "runs"),
            [
                (
                    *(f"{point.d:,}", score(point.mean), str(len(point.values))),
                    *(score(min(point.values)), score(max(point.values)), f"{point.lr:.3g}"),
                    cite(_at(of_lane(sources, row), point)),
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
    by_task: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_task[row.model, row.task].append(row)
    drawn = [draw(panel) for _, panel in sorted(by_task.items())]
    return [figure for figure in drawn if figure is not None]


def _at(sources: Iterable[Source], point: Point) -> list[Source]:
    return [one for one in sources if (one.record.d, one.record.lr) == (point.d, point.lr)]


def _scales(rows: Sequence[Row], sources: list[Source]) -> Section:
    text = (
        "SAID learns one scale lambda for each group of layers, starting at 1. Its size tells how "
        "far the same theta moves that group: here the mean over seeds of |lambda|."
    )
    tables, drawn = [], []
    for row in rows:
        lambdas = {point: mean_scales(_at(of_lane(sources, row), point)) for point in row.curve}
        lambdas = {point: scales for point, scales in lambdas.items() if scales}
        if not lambdas:
            continue
        drawn.append(figures.scales(name(row), {p.d: lambdas[p] for p in lambdas}))
        shown = next((p for p in lambdas if p.d == row.d90), list(lambdas)[-1])
        tables.append(
            Table(
                f"{name(row)}, d = {shown.d:,}{' = d90' if shown.d == row.d90 else ''}",
                ("group", "|lambda|", "runs"),
                [
                    (group, f"{scale:.3f}", cite(_at(of_lane(sources, row), shown)))
                    for group, scale in lambdas[shown].items()
                ],
                long=True,
            )
        )
    if not tables:
        text = "No run of SAID is done."
    return Section("Which layers the task uses", text, tables, drawn)


def mean_scales(sources: Iterable[Source]) -> dict[str, float]:
    """Gives each group's mean absolute lambda over runs that tell it."""
    values: dict[str, list[float]] = defaultdict(list)
    for source in sources:
        for group, facts in source.record.groups.items():
            if facts.scale is not None:
                values[group].append(abs(facts.scale))
    return {group: fmean(found) for group, found in values.items()}


def _rates(rows: Sequence[Row], sources: list[Source]) -> Section:
    several = [row for row in rows if len(row.tried) > len(row.curve)]
    text = "Every learning rate that was tried, at each d."
    if not several:
        return Section("Learning rates", "One learning rate was tried at each d.")
    tables = [
        Table(
            name(row),
            ("d", "lr", row.metric or "metric", "seeds", "best at this d", "runs"),
            [
                (
                    *(f"{point.d:,}", f"{point.lr:.3g}", score(point.mean)),
                    *(str(len(point.values)), "yes" if point in row.curve else ""),
                    cite(_at(of_lane(sources, row), point)),
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
