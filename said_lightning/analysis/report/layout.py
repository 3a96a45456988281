"""The parts of a report in any format: sections of sentences, plots and tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.plots.canvas import Plot
from said_lightning.analysis.table import title

# The columns whose cells cite runs by their numbers.
CITING = ("runs", "full: runs", "run")


@dataclass(frozen=True)
class Table:
    """A table of texts; `long` ones are folded away where a reader can unfold them.

    The first column names the row. `lists_runs`: each row is a run, which other tables cite.
    """

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    long: bool = False
    lists_runs: bool = False


@dataclass(frozen=True)
class Section:
    """A part of a report: what it shows, and how to read it."""

    title: str
    text: str
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)


def name(row: Row) -> str:
    """Return a row's name among all."""
    parts = (row.method.upper(), row.map, row.variant)
    return f"{title(row)} · {' '.join(part for part in parts if part)}"


def score(value: float | None) -> str:
    """Return a metric to four digits."""
    return "-" if value is None else f"{value:.4f}"
