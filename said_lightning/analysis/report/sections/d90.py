"""The section that answers the question: d90 of every series."""

from collections.abc import Sequence

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.interval import LEVEL
from said_lightning.analysis.reading import SHARE, Reading
from said_lightning.analysis.report.layout import Section, Table, name, score
from said_lightning.analysis.report.sources import Source, cite, of_full, of_series
from said_lightning.analysis.table import bracket, estimate_of


def answer(rows: Sequence[Row], sources: list[Source]) -> Section:
    """Return d90 of every series: as the paper's Table 1, and in full."""
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
    every = Table(
        "Every series",
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
                *(str(row.seeds), cite(of_series(sources, row)), cite(of_full(sources, row))),
            )
            for row in rows
        ],
    )
    notes = [(name(row), note) for row in rows for note in row.notes]
    known = [Table("What to know about them", ("series", "note"), notes)] if notes else []
    return Section("d90", text, [table_1(rows), every, *known])


def table_1(rows: Sequence[Row]) -> Table:
    """Return d90 in the form of Table 1 of arXiv 2012.13255: models by method and task."""
    columns = sorted({(_method(row), row.task) for row in rows}, key=lambda c: (c[0], c[1]))
    cells = {(row.model, _method(row), row.task): row for row in rows}
    lines = [
        (
            model,
            *(_cell(cells.get((model, method, task))) for method, task in columns),
        )
        for model in dict.fromkeys(row.model for row in rows)
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
    return f"{estimate_of(reading)} (one seed)"


def _method(row: Row) -> str:
    """Return the method as the paper writes it, with the projection where it is not the paper's."""
    inside = None if row.space == "all" else row.space
    other = row.projection if row.projection != "fastfood" else None
    added = ", ".join(part for part in (other, inside) if part)
    return row.method.upper() + (f" ({added})" if added else "")
