"""The parts of a report, whatever file it is written to: sections of tables and figures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.table import title


@dataclass(frozen=True)
class Table:
    """A table of texts; `long` ones are folded away where a reader can unfold them."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    long: bool = False


@dataclass(frozen=True)
class Section:
    """A part of a report: what it shows, and how to read it."""

    title: str
    text: str
    tables: list[Table] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)


def name(row: Row) -> str:
    """Return a row's name among all."""
    parts = (row.method.upper(), row.map, row.variant)
    return f"{title(row)} · {' '.join(part for part in parts if part)}"


def score(value: float | None) -> str:
    """Return a metric to four digits."""
    return "-" if value is None else f"{value:.4f}"
