"""The runs of a command while they go on: how each stands, by looks at its folder.

Any process on any machine may make a run, so that nothing but its folder is asked.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pydantic_core import from_json, to_json

from said_lightning.errors import UserError
from said_lightning.runs.files import read_whole
from said_lightning.runs.index import at
from said_lightning.runs.lease import FILE
from said_lightning.runs.record import RESULT, Record

# Beside the record of a run that trains.
PROGRESS = ".progress"


class Progress(NamedTuple):
    """How far a run has come: the epoch that it is in, counted from 1, and the steps made."""

    epoch: int
    epochs: int
    step: int
    steps: int


def write_progress(folder: Path, progress: Progress) -> None:
    """Note how far the run in a folder has come; a disk that takes nothing is no reason to end."""
    with suppress(OSError):
        beside = folder / f"{PROGRESS}.new"
        beside.write_bytes(to_json(progress))
        beside.replace(folder / PROGRESS)


def read_progress(folder: Path) -> Progress | None:
    """Return how far the run in a folder has come; None where it has not said."""
    try:
        found = Progress(*from_json(read_whole(folder / PROGRESS)))
    except (OSError, TypeError, ValueError):
        return None
    whole = all(isinstance(one, int) and one >= 0 for one in found)
    return found if whole and found.step <= found.steps > 0 else None


def forget_progress(folder: Path) -> None:
    """Remove the note on a run that trains no more."""
    with suppress(OSError):
        os.unlink(folder / PROGRESS)


class Watch:
    """The records of runs, by folder, as of the last look.

    `folders` names them at each look, since a search finds its runs as it goes. One that had failed
    before the first look is still to come.
    """

    def __init__(self, folders: Callable[[], Iterable[Path]]) -> None:
        self.folders = folders
        self.records: dict[Path, Record] = {}
        self._stamps: dict[Path, object] = {}
        self._before: dict[Path, Record] | None = None

    def look(self) -> list[Record]:
        """Read the runs that are not done, and return those that have ended since the last look.

        Of the first look that is none.
        """
        seen = dict(self.records)
        for folder in self.folders():
            stamp = _stamp(folder)
            # One that runs may be cut off without a trace.
            known = folder in seen and seen[folder].status != "running"
            if known and self._stamps[folder] == stamp:
                continue
            with suppress(UserError):  # it is being written, or gone
                self.records[folder] = at(folder)
                self._stamps[folder] = stamp
        if self._before is None:
            self._before = {f: r for f, r in self.records.items() if r.status == "failed"}
            seen = dict(self.records)
        for folder, failed in self._before.items():
            if self.records[folder] == failed:  # as it is until the run begins again
                self.records[folder] = replace(failed, status="waiting")
        return [
            record
            for folder, record in self.records.items()
            if record.status in ("done", "failed")
            and (folder not in seen or seen[folder].status != record.status)
        ]

    def count(self, *status: str) -> int:
        """Return how many runs are in one of some states."""
        return sum(record.status in status for record in self.records.values())

    def running(self) -> list[Record]:
        """Return the runs under way."""
        return [record for record in self.records.values() if record.status == "running"]


def _stamp(folder: Path) -> object:
    """Return what changes as a run begins or ends; cheap, for thousands of runs."""
    try:
        found = os.stat(folder / RESULT)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, os.path.lexists(folder / FILE)
