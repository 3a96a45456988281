"""The states of a sweep's runs, as `said status` prints them, from the run folders alone."""

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from said_lightning.runs import checkpoint
from said_lightning.runs.index import LOG, find
from said_lightning.runs.record import Record, Status
from said_lightning.runs.text import terminal
from said_lightning.runs.watch import read_progress

COLOURS: dict[Status, str] = {
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "preempted": "yellow",
    "waiting": "dim",
}
# How much of a reason is shown, in letters; and what lies too far ahead for a date, in seconds.
_SHOWN, _FAR = 2000, 10**9


def show(path: Path) -> Group:
    """Return the number of runs below `path` in each state, and a line for each that is not done.

    The line has the reason, the log file and the share of steps that are saved. The time left is
    that of the runs to come, at the mean of those done, shared by those under way.

    Raises:
        UserError: as for `find`.
    """
    records, errors = find(path)
    table = Table(box=None, pad_edge=False)
    for column in ("status", "run", "why, and its log"):
        table.add_column(column, overflow="fold")
    for record in sorted(records, key=lambda r: list(COLOURS).index(r.status)):
        if record.status != "done":
            table.add_row(
                Text(record.status, COLOURS[record.status]),
                Text(terminal(str(_below(path, record)))),
                Text("\n".join(map(terminal, why(record)))),
            )
    lines = [Text(summary(records))]
    lines += [Text(f"warning: {terminal(message)}") for message in errors]
    return Group(*lines, table) if table.row_count else Group(*lines)


def summary(records: Sequence[Record]) -> str:
    """Return the number of runs in each state, and the time left, in a line."""
    counts = Counter(record.status for record in records)
    states = ", ".join(f"{counts[state]} {state}" for state in COLOURS if counts[state])
    return f"{len(records)} runs: {states}{left(records)}"


def left(records: Sequence[Record]) -> str:
    """Estimate when all runs are done; empty where none is under way or none is done."""
    if (seconds := seconds_left(records)) is None:
        return ""
    end = datetime.now(UTC).astimezone() + timedelta(seconds=seconds)
    return f"; about {timedelta(seconds=seconds)} left, until {end:%a %H:%M}"


def seconds_left(records: Sequence[Record]) -> int | None:
    """Return the seconds until all runs are done: those to come, shared by those under way.

    Each takes as long as those done did on average; None where none is under way or none is done.
    """
    times = [r.wall_s for r in records if r.status == "done" and r.wall_s is not None]
    running = [r for r in records if r.status == "running"]
    if not times or not running:
        return None
    coming = sum(record.status in ("waiting", "preempted") for record in records)
    share = coming + sum(1 - (progress(record) or 0) for record in running)
    return min(math.ceil(share / len(running) * sum(times) / len(times)), _FAR)


def progress(record: Record) -> float | None:
    """Return the share of its steps that a run has made; of one that was cut off, has saved."""
    if record.folder is None:
        return None
    if record.status == "running" and (found := read_progress(record.folder)):
        return found.step / found.steps
    try:
        step, steps = checkpoint.progress(record.folder / checkpoint.FOLDER)
    except (OSError, ValueError):
        return None
    return step / steps


def why(record: Record) -> Iterator[str]:
    """Yield why a run is not done: its reason, the share of steps that is saved, and its log."""
    if record.reason:
        yield record.reason[:_SHOWN]
    share = progress(record)
    if share is not None and record.status != "failed":
        yield f"{share:.0%} of its steps"
    if record.folder is not None and os.path.exists(record.folder / LOG):
        yield str(record.folder / LOG)


def _below(path: Path, record: Record) -> Path:
    assert record.folder is not None
    return record.folder.relative_to(path)
