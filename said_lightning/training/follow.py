"""What a launcher shows of its runs while they go on: a bar on a terminal, lines in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from said_lightning.config.identity import RunSpec
from said_lightning.errors import UserError
from said_lightning.runs.index import find
from said_lightning.runs.record import Record
from said_lightning.runs.secrets import shown
from said_lightning.runs.status import seconds_left
from said_lightning.runs.text import line
from said_lightning.runs.watch import Progress, Watch, read_progress
from said_lightning.training.terminal import Terminal, is_terminal

log = logging.getLogger(__name__)

Records = list[Record]
# What is looked at or computed takes no more than this share of a core.
SHARE = 0.02
_RUNNING = 4  # runs under way that have a line


class Reader(NamedTuple):
    """How records are read for d90: in a few words while runs go on, and as a table in the end.

    Handed in by a command, since what trains knows nothing of the analysis.
    """

    words: Callable[[Records], str]
    table: Callable[[Records], None]


class Follower:
    """Follows the runs of a command from their folders, whatever launches them.

    On a terminal, a bar shows the runs done, the time left, d90 so far, and how far each run under
    way is. Elsewhere, a line is printed as runs of a sweep end.
    """

    def __init__(self, reader: Reader | None) -> None:
        self.reader = reader
        self.watch: Watch | None = None
        self.sweep = False
        self.specs: dict[Path, RunSpec] = {}
        self.earlier: dict[Path, Record] | None = None
        self.words = ""
        self.left: int | None = None
        self._next = self._next_words = 0.0
        self._stale: Record | None = None
        self._ending = Event()
        self._open = ExitStack()

    def __enter__(self) -> "Follower":
        """Take the terminal, before processes are started that inherit it."""
        self.terminal = is_terminal()  # which a pipe will stand in for
        if self.terminal:
            self._open.enter_context(Terminal(self.draw))
        return self

    def __exit__(self, *_: object) -> None:
        """Stop following."""
        self.close()

    def close(self) -> None:
        """Give the terminal back, once all that was printed is on it."""
        self._ending.set()
        self._open.close()

    def table(self) -> None:
        """Print d90 of what a sweep measured, if anything, with earlier runs in its folder."""
        if self.sweep and self.reader is not None and self.watch is not None:
            self._next = 0.0
            self._look()
            if not self.watch.count("done"):
                return
            try:
                self.reader.table(self.records())
            except UserError as error:  # how the runs ended is what counts
                print(*map(shown, error.messages), sep="\n", file=sys.stderr)

    def follow(self, specs: Callable[[], Iterable[RunSpec]], sweep: bool) -> None:
        """Begin to show runs; `specs` names them at each look."""

        def folders() -> Iterable[Path]:
            self.specs = {spec.folder: spec for spec in specs()}
            return self.specs

        self.sweep, self.watch = sweep, Watch(folders)
        if sweep and not self.terminal:
            thread = Thread(target=self._print, daemon=True)
            self._open.callback(thread.join)
            thread.start()

    def records(self) -> Records:
        """Return the records of this command's models and tasks, earlier ones in its folder too."""
        now = self.watch.records if self.watch else {}
        asked = {(record.model, record.task) for record in now.values()}
        every = {**(self.earlier or {}), **now}.values()
        return [record for record in every if (record.model, record.task) in asked]

    def _look(self) -> Records:
        """Look at the folders where it is time to, and return the runs that have ended."""
        began = time.monotonic()
        if self.watch is None or began < self._next:
            return []
        ended = self.watch.look()
        if self.earlier is None:
            self.earlier = {one.folder: one for one in _found(self.specs.values()) if one.folder}
        self.left = seconds_left(list(self.watch.records.values())) or self.left
        self._stale = ended[-1] if ended else self._stale
        self._next = time.monotonic() + max(0.5, (time.monotonic() - began) / SHARE)
        return ended

    def _read(self) -> None:
        """Compute d90 anew of the series at hand, where a run has ended."""
        began = time.monotonic()
        if self.reader is None or self._stale is None or began < self._next_words:
            return
        at_hand = self._stale.model, self._stale.task
        self._stale = None
        try:
            mine = [one for one in self.records() if (one.model, one.task) == at_hand]
            self.words = self.reader.words(mine)
        except Exception:  # what is shown meanwhile ends no run
            log.debug("d90 cannot be read yet", exc_info=True)
        self._next_words = time.monotonic() + (time.monotonic() - began) / SHARE

    def summary(self) -> str:
        """Return in a line how the runs stand: `12/40 runs done, about 0:31:00 left, d90 ...`."""
        assert self.watch is not None
        parts = [f"{self.watch.count('done')}/{len(self.watch.records)} runs done"]
        if failed := self.watch.count("failed"):
            parts.append(f"{failed} failed")
        if self.left is not None and self.watch.running():
            parts.append(f"about {timedelta(seconds=self.left)} left")
        return ", ".join([*parts, self.words] if self.words else parts)

    def draw(self) -> RenderableType | None:
        """Return the bar, over a line for each run under way; None before there is a run."""
        self._look()
        self._read()
        if self.watch is None or not self.watch.records:
            return None
        running = self.watch.running()
        lines, shares = [], 0.0
        for record in running:
            found = read_progress(record.folder) if record.folder else None
            shares += found.step / found.steps if found else 0.0
            spec = self.specs.get(record.folder) if record.folder else None
            lines.append(_line(line(spec.name if spec else str(record.folder)), found))
        more = len(lines) - _RUNNING
        lines[_RUNNING:] = [_one_line(f"and {more} more runs")] if more > 0 else []
        ended = self.watch.count("done", "failed")
        bar = ProgressBar(len(self.watch.records), ended + shares, width=20)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(bar, _one_line(shown(self.summary())))
        return Group(grid, *lines)

    def _print(self) -> None:
        """Print a line as runs end, until the last has."""
        ending = False
        while not ending:
            ending = self._ending.wait(0.2)
            if ending:  # what has ended since is shown at once
                self._next = self._next_words = 0.0
            if self._look():
                self._read()
                with suppress(OSError, ValueError):
                    print(shown(self.summary()), file=sys.stderr, flush=True)


def _found(specs: Iterable[RunSpec]) -> Iterator[Record]:
    """Yield the runs in the folders of all runs."""
    for out in {spec.out for spec in specs}:
        with suppress(UserError):
            yield from find(out)[0]


def _line(place: str, found: Progress | None) -> Text:
    if found is None:
        return _one_line(f"{'starting':24} {place}")
    epoch = f"epoch {found.epoch}/{found.epochs}"
    return _one_line(f"{f'{epoch}, step {found.step:,}/{found.steps:,}':24} {place}")


def _one_line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")
