"""A series as studies show it: its d90 in words and in a line of a table."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.report.layout import score
from said_lightning.analysis.report.sources import Sources, cite, of_full, of_series
from said_lightning.analysis.table import estimate_of

NO_VALUE = "no value"
COLUMNS = ("d90", "model", "full", "chance", "d90, corrected for chance", "runs")
Key = tuple[str, ...]


def reading(row: Row) -> str:
    """Return a series' fitted d90 with its interval; `no value` where nothing was learned.

    That is where full fine-tuning does not beat the majority class, as for the paper's early
    checkpoints.
    """
    if row.full is not None and row.trivial is not None and row.full <= row.trivial:
        return NO_VALUE
    return estimate_of(row)


def drawn(row: Row) -> bool:
    """Return whether a series has a d90 to draw."""
    return row.d90 is not None and reading(row) != NO_VALUE


def grouped(rows: Iterable[Row], key: Callable[[Row], Key | None]) -> dict[Key, list[Row]]:
    """Return the rows of each key that several rows share."""
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        if (one := key(row)) is not None:
            groups[one].append(row)
    return {one: found for one, found in sorted(groups.items()) if len(found) > 1}


def line(row: Row, sources: Sources) -> tuple[str, ...]:
    """Return a series' cells under COLUMNS."""
    corrected = NO_VALUE if reading(row) == NO_VALUE else estimate_of(row.corrected)
    runs = cite([*of_series(sources, row), *of_full(sources, row)])
    return (reading(row), row.model, score(row.full), score(row.trivial), corrected, runs)
