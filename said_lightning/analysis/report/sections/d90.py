"""The section that answers the question: d90 of every series."""

from collections.abc import Sequence

from said_lightning.analysis.d90 import LEVEL, SHARE, sensitivity
from said_lightning.analysis.estimator import Row
from said_lightning.analysis.report.layout import Section, Table, name, score
from said_lightning.analysis.report.sources import Sources, cite, of_full, of_series
from said_lightning.analysis.spread import sources_of_width
from said_lightning.analysis.table import (
    bracket,
    estimate_of,
    findings,
    label,
)

TEXT = (
    f"d90 is the smallest number of trained numbers d whose metric reaches {SHARE * 100:g} % of "
    "full fine-tuning's: where a monotone fit in log d crosses the threshold, with its "
    f"{LEVEL * 100:g} % interval over seeds and report rows in square brackets. The paper's "
    "reading is the smallest d that was run and reaches it (mean over seeds), with the bracket "
    f"(largest d below, d]. Corrected for chance, the threshold lies {SHARE * 100:g} % of the way "
    "from what a constant answer scores to full fine-tuning. Numbers of runs refer to the last "
    "section."
)
NESTED = "nested: an upper bound, from runs whose d grew."


def answer(rows: Sequence[Row], sources: Sources) -> Section:
    """Return d90 of every series: as the paper's Table 1, in full, and held against others."""
    every = Table(
        "Every series",
        (
            *("model", "task", "method", "metric", "full", "chance", "threshold", "verdict"),
            *("d90", "the paper's reading", "threshold, corrected", "d90, corrected", "seeds"),
            *("runs", "full: runs"),
        ),
        [
            (
                *(row.model, row.task, method(row), row.metric or "?", score(row.full)),
                *(score(row.trivial), score(row.threshold), row.verdict, estimate_of(row)),
                *(bracket(row), score(row.corrected.threshold), estimate_of(row.corrected)),
                *(str(row.seeds), cite(of_series(sources, row)), cite(of_full(sources, row))),
            )
            for row in rows
        ],
    )
    nested = any(row.verdict == "nested" for row in rows)
    text = f"{TEXT} {NESTED}" if nested else TEXT
    return Section("d90", text, [table_1(rows), every, *_beside(rows)])


def _beside(rows: Sequence[Row]) -> list[Table]:
    """Return how well each d90 is known, comparisons and notes, where there are some."""
    known = [
        (
            name(row),
            estimate_of(row),
            sources_of_width(row.parts),
            sensitivity(row.sensitivity, row.full_less, row.full_more),
            row.price or "",
        )
        for row in rows
        if row.sensitivity
    ]
    held = [(row.task, label(row), sentence) for row in rows for sentence in findings(row)]
    notes = [(name(row), note) for row in rows for note in row.notes]
    columns = ("series", "d90", "width", "at other shares of full, and full -+ 1 point", "price")
    tables = [
        Table("How well it is known", columns, known),
        Table("Comparisons", ("task", "series", "finding"), held),
        Table("What to know about them", ("series", "note"), notes),
    ]
    return [table for table in tables if table.rows]


def table_1(rows: Sequence[Row]) -> Table:
    """Return d90 in the form of Table 1 of arXiv 2012.13255: models by method and task."""
    columns = sorted({(method(row), row.task) for row in rows})
    cells = {(_model(row), method(row), row.task): row for row in rows}
    lines = [
        (
            model,
            *(_cell(cells.get((model, by, task))) for by, task in columns),
        )
        for model in dict.fromkeys(_model(row) for row in rows)
    ]
    heads = tuple(f"{by} {task}" for by, task in columns)
    return Table("d90 with its interval", ("model", *heads), lines)


def _cell(row: Row | None) -> str:
    return "" if row is None else estimate_of(row)


def _model(row: Row) -> str:
    return f"{row.model} ({row.panel})" if row.panel else row.model


def method(row: Row) -> str:
    """Return the method as the paper writes it, with the projection where it is not the paper's."""
    inside = None if row.space == "all" else row.space
    other = row.projection if row.projection != "fastfood" else None
    added = ", ".join(part for part in (other, inside, row.variant) if part)
    return row.method.upper() + (f" ({added})" if added else "")
