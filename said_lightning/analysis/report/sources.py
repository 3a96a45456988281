"""The runs behind each number of a report: every run has a number, and tables cite it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.measurements import measure
from said_lightning.analysis.rates import Point
from said_lightning.runs.record import CHOOSING, Record

# A point of a curve: d, rate and epochs.
Place = tuple[int, float, int]


@dataclass(frozen=True)
class Source:
    """A run and its number in the report; `folder` is relative to the report's root."""

    number: int
    folder: str
    record: Record


class Sources(list[Source]):
    """All runs of a report by their numbers, from which those of a row are found at once."""

    def __init__(self, every: Iterable[Source]) -> None:
        super().__init__(every)
        self._of = {id(source.record): source for source in self}
        self._behind: dict[int, dict[Place, list[Source]]] = {}

    def of(self, records: Iterable[Record]) -> list[Source]:
        """Return the sources of records; those that are not in the report are left out."""
        return [source for one in records if (source := self._of.get(id(one))) is not None]

    def behind(self, row: Row, point: Point) -> list[Source]:
        """Return the runs that report behind one point of a row."""
        if id(row.series) not in self._behind:
            found: dict[Place, list[Source]] = defaultdict(list)
            for source in self.of(row.series.runs):
                for run in measure(source.record):
                    if run.seed < CHOOSING:
                        found[run.d, run.lr, run.setting.epochs].append(source)
            self._behind[id(row.series)] = found
        return list(self._behind[id(row.series)].get((point.d, point.lr, point.epochs), ()))


def number(records: Sequence[Record], root: Path) -> Sources:
    """Assign numbers from 1 to runs, in the order of their folders."""
    named = sorted((folder(record, root), index) for index, record in enumerate(records))
    return Sources(
        Source(place, name, records[index]) for place, (name, index) in enumerate(named, start=1)
    )


def folder(record: Record, root: Path) -> str:
    """Return a run's folder relative to the root."""
    if record.folder is None:
        return "?"
    return record.folder.relative_to(root).as_posix()


def of_series(sources: Sources, row: Row) -> list[Source]:
    """Return the runs of a row's series, those that chose its rates among them."""
    return sources.of(row.series.runs)


def of_point(sources: Sources, row: Row, point: Point) -> list[Source]:
    """Return the runs of a row behind one point of its curve."""
    return sources.behind(row, point)


def of_full(sources: Sources, row: Row) -> list[Source]:
    """Return the runs of full fine-tuning that a row rests on."""
    return sources.of(row.series.full)


def behind(sources: Sources, rows: Iterable[Row]) -> list[Source]:
    """Return all runs that rows rest on, each once."""
    found = {
        one.number: one
        for row in rows
        for one in (*of_series(sources, row), *of_full(sources, row))
    }
    return list(found.values())


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
