"""d90 in a few words, for a line that is printed while runs go on."""

from collections import Counter
from collections.abc import Iterable

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.analysis.table import estimate_of, label
from said_lightning.runs.record import Record


def words(records: Iterable[Record]) -> str:
    """Return what is known of d90, such as `SAID d90 ~ 340, DID d90 > 1,000`; empty for nothing."""
    rows = estimate(records)
    methods = Counter(row.method for row in rows)
    named = {label(row) if methods[row.method] > 1 else row.method.upper(): row for row in rows}
    return ", ".join(f"{name} d90 {known}" for name, row in named.items() if (known := _known(row)))


def _known(row: Row) -> str:
    """Return a row's d90, or its bound."""
    if row.d90 is not None:
        return f"~ {row.d90:,}"
    bound = estimate_of(row)
    return bound if bound.startswith((">", "<=")) else ""
