"""The runs behind each number of a report: every run has a number, and tables cite it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.measurements import measure
from said_lightning.analysis.rates import Point
from said_lightning.runs.record import Record


@dataclass(frozen=True)
class Source:
    """A run and its number in the report; `folder` is relative to the report's root."""

    number: int
    folder: str
    record: Record


def number(records: Sequence[Record], root: Path) -> list[Source]:
    """Assign numbers from 1 to runs, in the order of their folders."""
    named = sorted((folder(record, root), index) for index, record in enumerate(records))
    return [
        Source(place, name, records[index]) for place, (name, index) in enumerate(named, start=1)
    ]


def folder(record: Record, root: Path) -> str:
    """Return a run's folder relative to the root."""
    if record.folder is None:
        return "?"
    return record.folder.relative_to(root).as_posix()


def of_series(sources: Iterable[Source], row: Row) -> list[Source]:
    """Return the runs of a row's series."""
    key = attrgetter("model", "task", "method", "projection", "space")
    return [source for source in sources if key(source.record) == key(row)]


def of_point(sources: Iterable[Source], row: Row, point: Point) -> list[Source]:
    """Return the runs of a row behind one point of its curve."""
    at = (point.d, point.lr)
    return [
        source
        for source in of_series(sources, row)
        if at in {(run.d, run.lr) for run in measure(source.record)}
    ]


def of_full(sources: Iterable[Source], row: Row) -> list[Source]:
    """Return the runs of full fine-tuning that a row rests on."""
    return [
        source
        for source in sources
        if source.record.method == "full"
        and (source.record.model, source.record.task) == (row.model, row.task)
    ]


def cite(sources: Iterable[Source]) -> str:
    """Return run numbers in short: `1-3, 7`."""
    numbers = sorted(source.number for source in sources)
    runs: list[list[int]] = []
    for one in numbers:
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
