"""The d90 table, for a terminal and as JSON."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.console import Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.reading import SHARE, Reading

_STYLES = {"found": "green", "nested": "green", "incomplete": "dim", "no-baseline": "red"}
_COLUMNS = {"method": 6, "projection": 10, "d90": 21, "verdict": 11, "lr": 6, "seeds": 5, "runs": 6}


def show(rows: Iterable[Row]) -> RenderableType:
    """Return the rows in a table for each (model, task), under a line with its threshold."""
    parts: list[RenderableType] = []
    for _, panel in groupby(rows, key=lambda row: (row.model, row.task)):
        parts += _panel(list(panel))
    return Group(*parts)


def _panel(rows: list[Row]) -> list[RenderableType]:
    one = rows[0]
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for name, width in _COLUMNS.items():
        right = name in ("d90", "lr", "seeds", "runs")
        justify: JustifyMethod = "right" if right else "left"
        table.add_column(name, min_width=width, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(
            row.method,
            row.map,
            Text(bracket(row), style="bold"),
            Text(row.verdict, style=_STYLES.get(row.verdict, "yellow")),
            "" if row.lr is None else f"{row.lr:.3g}",
            str(row.seeds),
            f"{row.done}/{row.planned}",
        )
    return [
        Text(f"{one.model} · {one.task}", style="bold"),
        Text(_threshold(one)),
        table,
        *(
            Padding(Text(fitted(row)), (0, 0, 0, 1), expand=False)
            for row in rows
            if row.bracket != (None, None) or row.corrected.bracket != (None, None)
        ),
        *(Padding(note, (0, 0, 0, 1), style="yellow", expand=False) for note in _notes(rows)),
        "",
    ]


def _notes(rows: list[Row]) -> list[Text]:
    """Return every note once, with the rows that it is about unless it is about all of them."""
    about: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for note in row.notes:
            about[note].append(label(row))
    return [
        Text(note if len(series) == len(rows) else f"{', '.join(series)}: {note}")
        for note, series in about.items()
    ]


def label(row: Row) -> str:
    """Return a row's name among those of its model and task."""
    return f"{row.method} {row.map}".strip()


def _threshold(row: Row) -> str:
    """Return in words how the threshold comes about."""
    parts = ["no full fine-tuning"]
    if row.baseline and row.threshold is not None:
        _, mean, lr, seeds = row.baseline
        runs = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}, lr {lr:.3g}"
        parts = [f"full {mean:.4f} ({runs})", f"{SHARE * 100:g} % of it {row.threshold:.4f}"]
    if row.trivial is not None:
        parts.append(f"trivial {row.trivial:.4f}")
    return f"{row.metric or 'metric unknown'}: {', '.join(parts)}"


def bracket(row: Reading) -> str:
    """Return d90 with the grid's bracket: `1,000 (700, 1,000]`, `<= 50`, `> 5,000`, or a dash."""
    low, high = row.bracket
    if low is not None and high is not None:
        return f"{high:,} ({low:,}, {high:,}]"
    if high is not None:
        return f"<= {high:,}"
    return "-" if low is None else f"> {low:,}"


def estimate_of(reading: Reading) -> str:
    """Return the fitted d90 with its interval: `843 [620, 1,010]`, an open end as dots.

    Where the fit does not cross the threshold, it is the grid's bound, or else the verdict.
    """
    if reading.fitted is None:
        return reading.verdict if reading.bracket == (None, None) else bracket(reading)
    if reading.level is None:
        return f"{reading.fitted:,}"
    low, high = ("..." if end is None else f"{end:,}" for end in reading.interval)
    return f"{reading.fitted:,} [{low}, {high}]"


def fitted(row: Row) -> str:
    """Return a line with a row's fits: against the paper's threshold, then corrected for chance."""
    corrected = f"chance-corrected {estimate_of(row.corrected)}"
    if row.verdict == "nested":
        return f"{label(row)}: {corrected}; upper bounds, from runs whose d grew"
    parts = f"fitted {estimate_of(row)}, {corrected}"
    if row.level is None:
        return f"{label(row)}: {parts}; one seed: no seed variance in these"
    return f"{label(row)}: {parts}; {row.level * 100:g} % intervals"


def to_json(rows: Iterable[Row]) -> str:
    """Return the rows as a JSON list of objects, with the fields of `Row`."""
    return json.dumps([_flat(row) for row in rows], indent=2, allow_nan=False)


def _flat(row: Row) -> dict[str, Any]:
    points = {
        name: [point._asdict() for point in getattr(row, name)] for name in ("curve", "tried")
    }
    baseline = row.baseline and row.baseline._asdict()
    return {**asdict(row), "full": row.full, "baseline": baseline, **points}
