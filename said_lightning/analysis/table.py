"""The d90 table, for a terminal and as JSON."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from itertools import groupby
from typing import Any

from rich.console import Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from said_lightning.analysis.comparison import Comparison
from said_lightning.analysis.d90 import SHARE, sensitivity
from said_lightning.analysis.estimator import Row
from said_lightning.analysis.reading import Reading
from said_lightning.analysis.spread import sources_of_width
from said_lightning.runs.text import terminal

_STYLES = {"found": "green", "nested": "green", "incomplete": "dim", "no-baseline": "red"}
_COLUMNS = {
    **{"method": 6, "projection": 10, "d90": 21, "verdict": 11},
    **{"lr": 6, "epochs": 6, "seeds": 5, "runs": 6},
}
_LEFT = ("method", "projection", "verdict")


def show(rows: Sequence[Row]) -> RenderableType:
    """Return the rows in a table for each (model, task, setting), under their threshold."""
    parts: list[RenderableType] = []
    for _, panel in groupby(rows, key=lambda row: (row.model, row.task, row.panel)):
        parts += _panel(list(panel))
    if lines := list(_across(rows)):
        parts += [Text("Comparisons", style="bold"), *map(_line, lines)]
    return Group(*parts)


def _panel(rows: list[Row]) -> list[RenderableType]:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for name, width in _COLUMNS.items():
        justify: JustifyMethod = "left" if name in _LEFT else "right"
        table.add_column(name, min_width=width, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(
            row.method,
            _text(f"{row.map} {row.variant}".strip()),
            _text(estimate_of(row), style="bold"),
            _text(row.verdict, style=_STYLES.get(row.verdict, "yellow")),
            "" if row.lr is None else f"{row.lr:.3g}",
            "" if row.epochs is None else str(row.epochs),
            str(row.seeds),
            f"{row.done}/{row.planned}",
        )
    return [
        _text(title(rows[0]), style="bold"),
        _text(threshold_of(rows[0])),
        table,
        *(_line(f"{label(row)}: {line}") for row in rows for line in details(row)),
        *map(_line, _within(rows)),
        *(_line(note, "yellow") for note in _notes(rows)),
        "",
    ]


def _text(text: str, style: str = "") -> Text:
    return Text(terminal(text), style=style)


def _line(text: str, style: str = "") -> Padding:
    return Padding(_text(text, style), (0, 0, 0, 1), expand=False)


def _is_across(one: Comparison) -> bool:
    """Return whether a comparison is of series in different panels."""
    return one.over in ("model", "step")


def _within(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the comparisons within a panel, each after what both of its series are."""
    for row in rows:
        parts = {"method": row.method, "projection": row.projection, "space": f"({row.space})"}
        if row.space == "all":
            del parts["space"]
        for one in row.comparisons:
            alike = [part for name, part in parts.items() if part and name != one.over]
            if not _is_across(one):
                where = " ".join(filter(None, [*alike, row.variant]))
                yield f"{where}: {one.sentence}" if where else one.sentence


def _across(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the comparisons of models, and the trends over families of them."""
    for row in rows:
        where = f"{row.task} {label(row)}"
        across = [one.sentence for one in row.comparisons if _is_across(one)]
        for found in (*across, *(one.sentence for one in row.correlations)):
            yield f"{where}: {found}"


def findings(row: Row) -> list[str]:
    """Return the sentences of all comparisons that a row comes first in."""
    return [one.sentence for one in row.comparisons] + [one.sentence for one in row.correlations]


def title(row: Row) -> str:
    """Return a panel's title: model and task, and in what it differs from others of these names."""
    return f"{row.model} · {row.task}{f' ({row.panel})' if row.panel else ''}"


def details(row: Row) -> Iterator[str]:
    """Yield what stands beside a series' d90, a line each."""
    beside = []
    if row.bracket != (None, None) and row.verdict != "nested":
        beside.append(f"the paper's reading {bracket(row)}")
    if row.corrected.verdict != "trivial" and row.trivial is not None:
        beside.append(f"corrected for chance {estimate_of(row.corrected)}")
    if row.verdict == "nested":
        beside.append("an upper bound, from runs whose d grew")
    if beside:
        yield "; ".join(beside)
    if row.parts and None not in row.interval:
        yield f"x{width(row):.2f} wide; {sources_of_width(row.parts)}{_price(row)}"
    elif row.price:
        yield row.price
    if row.sensitivity:
        yield sensitivity(row.sensitivity, row.full_less, row.full_more)


def _price(row: Row) -> str:
    return f"; {row.price}" if row.price else ""


def width(row: Row) -> float:
    """Return the width of a closed interval, high / low."""
    low, high = row.interval
    assert low is not None
    assert high is not None
    return high / low


def _notes(rows: list[Row]) -> list[str]:
    """Return every note once, with the rows that it is about unless it is about all of them."""
    about: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for note in row.notes:
            about[note].append(label(row))
    return [
        note if len(series) == len(rows) else f"{', '.join(series)}: {note}"
        for note, series in about.items()
    ]


def label(row: Row) -> str:
    """Return a row's name among those of its panel."""
    return " ".join(part for part in (row.method, row.map, row.variant) if part)


def threshold_of(row: Row) -> str:
    """Return in words how the threshold comes about."""
    parts = ["no full fine-tuning"]
    if row.baseline and row.threshold is not None:
        _, mean, lr, seeds, epochs = row.baseline
        runs = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}, lr {lr:.3g}"
        runs += f", {epochs} epoch{'s' if epochs > 1 else ''}" if epochs else ""
        parts = [f"full {mean:.4f} ({runs})", f"{SHARE * 100:g} % of it {row.threshold:.4f}"]
    if row.trivial is not None:
        parts.append(f"trivial {row.trivial:.4f}")
    name = row.metric or "metric unknown"
    return f"{name}{f' on {row.rows:,} rows' if row.rows else ''}: {', '.join(parts)}"


def bracket(row: Reading) -> str:
    """Return the paper's reading: `1,000 (700, 1,000]`, `<= 50`, `> 5,000`, or a dash."""
    low, high = row.bracket
    if low is not None and high is not None:
        return f"{high:,} ({low:,}, {high:,}]"
    if high is not None:
        return f"<= {high:,}"
    return "-" if low is None else f"> {low:,}"


def estimate_of(reading: Reading) -> str:
    """Return d90 with its interval: `843 [620, 1,010]`, an open end as dots.

    Where the fit does not cross the threshold, it is the bound, or else the verdict.
    """
    low, high = ("..." if end is None else f"{end:,}" for end in reading.interval)
    if reading.d90 is not None:
        return f"{reading.d90:,}" if reading.level is None else f"{reading.d90:,} [{low}, {high}]"
    if reading.interval[1] is not None and reading.interval[0] is None:
        return f"<= {high}"
    if reading.interval[0] is not None:
        return f"> {low}"
    # With seeds, both ends are open: the runs show nothing, whatever the grid's reading is.
    shows_none = reading.level is not None or reading.bracket == (None, None)
    return reading.verdict if shows_none else bracket(reading)


def to_json(rows: Iterable[Row]) -> str:
    """Return the rows as a JSON list of objects, with the fields of `Row`."""
    return json.dumps([_flat(row) for row in rows], indent=2, allow_nan=False)


def _flat(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {
        one.name: getattr(row, one.name) for one in fields(row) if one.name != "series"
    }
    for name in ("curve", "tried"):
        found[name] = [point._asdict() for point in found[name]]
    for name in ("comparisons", "correlations"):
        found[name] = [asdict(one) for one in found[name]]
    baseline = row.baseline and row.baseline._asdict()
    added = {"full": row.full, "baseline": baseline, "corrected": asdict(row.corrected)}
    return found | {"parts": dict(row.parts), "sensitivity": dict(row.sensitivity)} | added
