"""The report as one HTML page with plots, which needs nothing else."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.report.layout import Section, Table, name
from said_lightning.analysis.report.sections import build
from said_lightning.analysis.table import bracket, estimate_of
from said_lightning.errors import needs
from said_lightning.runs.record import Record
from said_lightning.runs.text import html as escape
from said_lightning.runs.text import plotly

TITLE = "d90: how many numbers does it take to fine-tune?"
_STYLE = Path(__file__).with_name("page.css")


def html(rows: Sequence[Row], records: Sequence[Record], root: Path) -> str:
    """Return the report as a page, with plotly.js inside."""
    get_plotlyjs = needs("plotly.offline", "report", "a report in HTML").get_plotlyjs
    sections = build(rows, records, root)
    drawn = [_texts(figure) for section in sections for figure in section.figures]
    places = iter(range(len(drawn)))
    body = "\n".join(
        _section(section, [next(places) for _ in section.figures]) for section in sections
    )
    # Nothing in it ends the script that it stands in.
    data = json.dumps(drawn, sort_keys=True, allow_nan=False).replace("<", r"\u003c")
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


def _texts(part: Any) -> Any:
    """Return a part of a figure with its texts as plotly, which reads HTML, shows them.

    A hover template is HTML of our own, and holds no text from outside.
    """
    if isinstance(part, dict):
        return {key: one if key == "hovertemplate" else _texts(one) for key, one in part.items()}
    if isinstance(part, list | tuple):
        return [_texts(one) for one in part]
    return plotly(part) if isinstance(part, str) else part


def _answers(rows: Sequence[Row]) -> str:
    """Return a card for each series with its answer."""
    cards = []
    for row in rows:
        answer = estimate_of(row)
        grid = f"the paper's reading: {bracket(row)}"
        detail = "an upper bound" if row.verdict == "nested" else f"{row.verdict}; {grid}"
        cards.append(
            f'<div class="answer"><b>{escape(answer)}</b><span>{escape(name(row))}</span>'
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
