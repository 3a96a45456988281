"""The sections of a report, sentences, plots and tables, the same in every format."""

from collections.abc import Callable, Sequence
from pathlib import Path

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.report.layout import Section
from said_lightning.analysis.report.sections import certificates, d90, runs, series, studies
from said_lightning.analysis.report.sources import Sources, number
from said_lightning.runs.record import Record

# In the order of the report. Each returns its section, or None where no run is about it.
SECTIONS: tuple[Callable[[Sequence[Row], Sources], Section | None], ...] = (
    d90.answers,
    series.curves,
    d90.every,
    d90.comparisons,
    *studies.STUDIES,
    series.rates,
    series.scales,
    certificates.errors,
    runs.cost,
    runs.failed,
    runs.provenance,
)


def build(rows: Sequence[Row], records: Sequence[Record], root: Path) -> list[Section]:
    """Return a report's sections; the same runs give the same sections."""
    sources = number(records, root)
    made = (section(rows, sources) for section in SECTIONS)
    return [section for section in made if section is not None]
