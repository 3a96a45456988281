"""What a report says, as sections of tables and figures, whatever file it is written to."""

from collections.abc import Callable, Sequence
from pathlib import Path

from said_lightning.analysis import accounts, answers, certified, lanes
from said_lightning.analysis.d90 import Row
from said_lightning.analysis.parts import Section
from said_lightning.analysis.sources import Source, number
from said_lightning.runs.record import Record

# In the order of the report. Each gives its section, or None where no run tells of it.
SECTIONS: tuple[Callable[[Sequence[Row], list[Source]], Section | None], ...] = (
    answers.answer,
    lanes.curves,
    lanes.scales,
    lanes.rates,
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
