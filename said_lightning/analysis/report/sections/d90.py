"""The sections that answer the question: d90 of every task, and how well it is known."""

from collections import defaultdict
from collections.abc import Sequence

from said_lightning.analysis.answer import answers as sentences_on
from said_lightning.analysis.answer import listed, method, why_not_drawn
from said_lightning.analysis.d90 import LEVEL, SHARE, sensitivity
from said_lightning.analysis.estimator import Row
from said_lightning.analysis.plots.curves import looks_of, panels_of
from said_lightning.analysis.plots.spans import OPEN, forest
from said_lightning.analysis.report.layout import Section, Table, name, score
from said_lightning.analysis.report.sources import Sources, behind, cite, of_full, of_series
from said_lightning.analysis.spread import sources_of_width
from said_lightning.analysis.table import bracket, estimate_of, findings

SHORT = (
    f"d90 is the smallest number of trained numbers d that reaches {SHARE * 100:g} % of full "
    f"fine-tuning's metric; in square brackets its {LEVEL * 100:g} % interval. {OPEN}"
)
TEXT = (
    "d90 is where a monotone fit in log d crosses the threshold, with its "
    f"{LEVEL * 100:g} % interval over seeds and report rows. The paper's "
    "reading is the smallest d that was run and reaches it (mean over seeds), with the bracket "
    f"(largest d below, d]. Corrected for chance, the threshold lies {SHARE * 100:g} % of the way "
    "from what a constant answer scores to full fine-tuning. Numbers of runs refer to the last "
    "section."
)
NESTED = "nested: an upper bound, from runs whose d grew."


def answers(rows: Sequence[Row], sources: Sources) -> Section:
    """Return a sentence for each task, d90 of all series in one plot, and why others have none."""
    plot = forest(rows, looks_of(rows), cite(behind(sources, [r for r in rows if r.d90])))
    none = Table(
        "Series without a d90",
        ("series", "d90", "reason", "runs"),
        [
            (name(row), estimate_of(row), why_not_drawn(row), cite(behind(sources, [row])))
            for row in rows
            if row.d90 is None
        ],
        long=True,
    )
    sentences = sentences_on(panels_of(rows))
    tables, plots = [none] if none.rows else [], [plot] if plot else []
    return Section("The answer", SHORT, tables, plots, sentences)


def every(rows: Sequence[Row], sources: Sources) -> Section:
    """Return d90 of every series in full, how well each is known, and what to know about them."""
    table = Table(
        "Every series",
        (
            *("series", "d90", "verdict", "the paper's reading", "d90, corrected", "metric"),
            *("full", "chance", "threshold", "threshold, corrected", "seeds"),
            *("runs", "full: runs"),
        ),
        [
            (
                *(name(row), estimate_of(row), row.verdict, bracket(row)),
                *(estimate_of(row.corrected), row.metric or "?", score(row.full)),
                *(score(row.trivial), score(row.threshold), score(row.corrected.threshold)),
                *(
                    str(row.seeds),
                    cite(of_series(sources, row)),
                    cite(of_full(sources, row)) or "-",
                ),
            )
            for row in rows
        ],
    )
    nested = any(row.verdict == "nested" for row in rows)
    text = f"{TEXT} {NESTED}" if nested else TEXT
    return Section("Every series", text, [table, *_beside(rows, sources)])


def _beside(rows: Sequence[Row], sources: Sources) -> list[Table]:
    """Return how well each d90 is known, and notes, where there are some."""
    known = [
        (
            *(name(row), estimate_of(row), sources_of_width(row.parts) or "-"),
            sensitivity(row.sensitivity, row.full_less, row.full_more),
            *(row.price or "-", cite(behind(sources, [row]))),
        )
        for row in rows
        if row.sensitivity
    ]
    about: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        for note in row.notes:
            about[note].append(row)
    notes = [
        (
            *(note, "all" if len(found) == len(rows) else listed([name(row) for row in found])),
            cite(behind(sources, found)),
        )
        for note, found in about.items()
    ]
    shares = "at other shares of full, and full -+ 1 point"
    tables = [
        Table("How well it is known", ("series", "d90", "width", shares, "price", "runs"), known),
        Table("What to know about them", ("note", "series", "runs"), notes),
    ]
    return [table for table in tables if table.rows]


def comparisons(rows: Sequence[Row], sources: Sources) -> Section | None:
    """Return what can be said of the ratios of two d90; None where no two can be compared."""
    found = [
        (name(row), sentence, cite(behind(sources, [row])))
        for row in rows
        for sentence in findings(row)
    ]
    text = (
        "Series that differ in one thing, drawn together. The ratio is d90 of the first over that "
        f"of the second, with its {LEVEL * 100:g} % interval; the runs are those of the first."
    )
    table = Table("Comparisons", ("series", "finding", "runs"), found)
    return Section("Comparisons", text, [table]) if found else None


def table_1(rows: Sequence[Row]) -> Table:
    """Return d90 in the form of Table 1 of arXiv 2012.13255: models by method and task."""
    columns = sorted({(method(row), row.task) for row in rows})
    cells = {(_model(row), method(row), row.task): row for row in rows}
    lines = [
        (model, *(_cell(cells.get((model, by, task))) for by, task in columns))
        for model in dict.fromkeys(_model(row) for row in rows)
    ]
    heads = tuple(f"{by} {task}" for by, task in columns)
    return Table("d90 with its interval", ("model", *heads), lines)


def _cell(row: Row | None) -> str:
    return "" if row is None else estimate_of(row)


def _model(row: Row) -> str:
    return f"{row.model} ({row.panel})" if row.panel else row.model
