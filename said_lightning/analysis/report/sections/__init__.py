"""What a report says, as sections of tables and figures, whatever file it is written to."""

from collections.abc import Callable, Sequence
from pathlib import Path

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.report.layout import Section
from said_lightning.analysis.report.sections import (
    certificates as certified,
)
from said_lightning.analysis.report.sections import (
    d90 as answers,
)
from said_lightning.analysis.report.sections import (
    runs as accounts,
)
from said_lightning.analysis.report.sections import (
    series as lanes,
)
from said_lightning.analysis.report.sections.studies import STUDIES
from said_lightning.analysis.report.sources import Source, number
from said_lightning.runs.record import Record

# In the order of the report. Each gives its section, or None where no run tells of it.
SECTIONS: tuple[Callable[[Sequence[Row], list[Source]], Section | None], ...] = (
    answers.answer,
    lanes.curves,
    lanes.scales,
    lanes.rates,
    *STUDIES,
    certified.errors,
    accounts.cost,
    accounts.failed,
    accounts.provenance,
)


def build(rows: Sequence[Row], records: Sequence[Record], root: Path) -> list[Section]:
    """Gives a report's sections; the same runs give the same sections."""
    sources = number(records, root)
    made = (section(rows, sources) for section in SECTIONS)
    return [section for section in made if section is not None]
