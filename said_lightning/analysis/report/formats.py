"""The formats in which a report is written: HTML, Markdown, CSV and LaTeX."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import fields
from io import StringIO
from pathlib import Path

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.reading import Reading
from said_lightning.analysis.report.page import TITLE, html
from said_lightning.analysis.report.sections import build
from said_lightning.analysis.report.sections.d90 import table_1
from said_lightning.analysis.report.sources import number, of_full, of_series
from said_lightning.errors import UserError
from said_lightning.runs import text
from said_lightning.runs.record import Record


def write(path: Path, rows: Sequence[Row], records: Sequence[Record], root: Path) -> None:
    """Write the report to a file, in the format of its suffix; the same runs give the same bytes.

    Raises:
        UserError: the suffix is none of FORMATS, or the file cannot be written; one message.
    """
    make = FORMATS.get(path.suffix)
    if make is None:
        raise UserError(
            f"{path}: unknown format; expected a name that ends in {', '.join(FORMATS)}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make(rows, records, root), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def markdown(rows: Sequence[Row], records: Sequence[Record], root: Path) -> str:
    """Return the report's text and tables."""
    lines = [f"# {TITLE}", ""]
    for section in build(rows, records, root):
        lines += [f"## {text.markdown(section.title)}", "", text.markdown(section.text), ""]
        if section.sentences:
            lines += [*(f"- {text.markdown(sentence)}" for sentence in section.sentences), ""]
        for table in section.tables:
            lines += [f"**{text.markdown(table.caption)}**", "", _line(table.columns)]
            lines += [_line(["---"] * len(table.columns)), *map(_line, table.rows), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(text.markdown, cells)) + " |"


def table_csv(rows: Sequence[Row], records: Sequence[Record], root: Path) -> str:
    """Return a line for each series, with plain numbers and the folders that they come from."""
    readings = [one.name for one in fields(Reading) if one.name not in ("bracket", "interval")]
    ends = ("bracket_low", "bracket_high", "interval_low", "interval_high")
    own = (
        "model",
        "task",
        "method",
        "projection",
        "space",
        "metric",
        "full",
        "trivial",
        "lr",
        "seeds",
    )
    sources = number(records, root)
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = [*readings, *ends]
    head = [*own, "done", "planned", *columns, *(f"corrected_{key}" for key in columns), "folders"]
    writer.writerow(head)
    for row in rows:
        cells: list[object] = [getattr(row, key) for key in (*own, "done", "planned")]
        for reading in (row, row.corrected):
            cells += [getattr(reading, key) for key in readings]
            cells += [*reading.bracket, *reading.interval]
        runs = [*of_full(sources, row), *of_series(sources, row)]
        cells.append(" ".join(source.folder for source in runs))
        writer.writerow(
            [text.spreadsheet(cell) if isinstance(cell, str) else cell for cell in cells]
        )
    return out.getvalue()


def latex(rows: Sequence[Row], records: Sequence[Record], root: Path) -> str:
    """Return the d90 table in the form of the paper's Table 1, for booktabs."""
    table = table_1(rows)
    lines = [
        "% from " + text.line(", ".join(source.folder for source in number(records, root))),
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        *(" & ".join(map(text.latex, cells)) + r" \\" for cells in [table.columns]),
        r"\midrule",
        *(" & ".join(map(text.latex, cells)) + r" \\" for cells in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        "",
    ]
    return "\n".join(lines)


Make = Callable[[Sequence[Row], Sequence[Record], Path], str]
FORMATS: dict[str, Make] = {".html": html, ".md": markdown, ".csv": table_csv, ".tex": latex}
