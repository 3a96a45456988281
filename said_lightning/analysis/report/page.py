"""The report of a study as one file: HTML with plots, Markdown, CSV or LaTeX."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from html import escape
from io import StringIO
from pathlib import Path

from said_lightning.analysis.estimator import Reading, Row
from said_lightning.analysis.report.layout import Section, Table, name
from said_lightning.analysis.report.sections import build
from said_lightning.analysis.report.sections.d90 import table_1
from said_lightning.analysis.report.sources import number, of_full, of_lane
from said_lightning.analysis.table import estimate_of
from said_lightning.errors import UserError
from said_lightning.runs.record import Record

TITLE = "d90: how many numbers does it take to fine-tune?"
_STYLE = Path(__file__).with_name("page.css")


def write(path: Path, rows: Sequence[Row], records: Sequence[Record], root: Path) -> None:
    """Writes the report to a file whose suffix tells the format; the same runs, the same bytes.

    Raises UserError for another suffix and where the file cannot be written.
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


def html(rows: Sequence[Row], records: Sequence[Record], root: Path) -> str:
    """Gives the report as a page that needs nothing else: plotly.js is inside."""
    from plotly.offline import get_plotlyjs

    sections = build(rows, records, root)
    drawn = [figure for section in sections for figure in section.figures]
    places = iter(range(len(drawn)))
    body = "\n".join(
        _section(section, [next(places) for _ in section.figures]) for section in sections
    )
    data = json.dumps(drawn, sort_keys=True, allow_nan=False).replace("</", "<\\/")
    contents = " · ".join(
        f'<a href="#{_anchor(section)}">{escape(section.title)}</a>' for section in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{TITLE}</title>
<style>
{_STYLE.read_text(encoding="utf-8")}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<h1>{TITLE}</h1>
<nav>{contents}</nav>
<div class="answers">
{_answers(rows)}
</div>
{body}
<script>
const figures = {data};
const bar = innerWidth > 700 && "hover";
const options = {{responsive: true, displaylogo: false, displayModeBar: bar}};
figures.forEach((figure, i) =>
  Plotly.newPlot(`figure-${{i}}`, figure.data, figure.layout, options));
</script>
</body>
</html>
"""


def _answers(rows: Sequence[Row]) -> str:
    """One card for each lane with its answer."""
    cards = []
    for row in rows:
        low, high = ("?" if end is None else f"{end:,}" for end in row.interval)
        span = f"{row.level * 100:g} % interval {low} to {high}" if row.level else "one seed"
        told = f"{row.fitted:,}" if row.fitted is not None else escape(estimate_of(row))
        grid = f"grid: {row.d90:,}" if row.d90 is not None else f"grid: {row.verdict}"
        grid = "nested: an upper bound" if row.verdict == "nested" else grid
        detail = f"{span}; {grid}" if row.fitted is not None else grid
        cards.append(
            f'<div class="answer"><b>{told}</b><span>{escape(name(row))}</span>'
            f"<small>{escape(detail)}</small></div>"
        )
    return "\n".join(cards)


def _section(section: Section, places: list[int]) -> str:
    parts = [f'<section id="{_anchor(section)}">', f"<h2>{escape(section.title)}</h2>"]
    parts.append(f"<p>{escape(section.text)}</p>")
    parts += ['<div class="figures">'] * bool(places)
    parts += [f'<div class="figure" id="figure-{place}"></div>' for place in places]
    parts += ["</div>"] * bool(places)
    for table in section.tables:
        inside = _table(table)
        if table.long:
            title = f"{escape(table.caption)} ({len(table.rows)} rows)"
            parts.append(f"<details><summary>{title}</summary>{inside}</details>")
        else:
            parts.append(f"<h3>{escape(table.caption)}</h3>{inside}")
    return "\n".join([*parts, "</section>"])


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>\n{rows}</table></div>'


def _anchor(section: Section) -> str:
    return section.title.lower().replace(" ", "-")


def markdown(rows: Sequence[Row], records: Sequence[Record], root: Path) -> str:
    """Gives the report's text and tables."""
    lines = [f"# {TITLE}", ""]
    for section in build(rows, records, root):
        lines += [f"## {section.title}", "", section.text, ""]
        for table in section.tables:
            lines += [f"**{table.caption}**", "", _line(table.columns)]
            lines += [_line(["---"] * len(table.columns)), *map(_line, table.rows), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table_csv(rows: Sequence[Row], records: Sequence[Record], root: Path) -> str:
    """Gives a line for each lane, with plain numbers and the folders that they come from."""
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
        told = [getattr(row, key) for key in (*own, "done", "planned")]
        for reading in (row, row.corrected):
            told += [getattr(reading, key) for key in readings]
            told += [*reading.bracket, *reading.interval]
        runs = [*of_full(sources, row), *of_lane(sources, row)]
        writer.writerow([*told, " ".join(source.folder for source in runs)])
    return out.getvalue()


def latex(rows: Sequence[Row], records: Sequence[Record], root: Path) -> str:
    """Gives the d90 table in the form of the paper's Table 1, for booktabs."""
    table = table_1(rows)
    lines = [
        "% from " + ", ".join(source.folder for source in number(records, root)),
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        *(" & ".join(map(_tex, cells)) + r" \\" for cells in [table.columns]),
        r"\midrule",
        *(" & ".join(map(_tex, cells)) + r" \\" for cells in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        "",
    ]
    return "\n".join(lines)


def _tex(text: str) -> str:
    for plain, written in (("_", r"\_"), ("%", r"\%"), ("<=", r"$\le$"), (">", r"$>$")):
        text = text.replace(plain, written)
    return text


Make = Callable[[Sequence[Row], Sequence[Record], Path], str]
FORMATS: dict[str, Make] = {".html": html, ".md": markdown, ".csv": table_csv, ".tex": latex}
