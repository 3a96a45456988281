"""How a sweep stands: `said status` as a table, from the run folders alone."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from said_lightning.errors import UserError
from said_lightning.runs import checkpoint
from said_lightning.runs.index import LOG, find
from said_lightning.runs.record import Record, Status

COLOURS: dict[Status, str] = {
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "preempted": "yellow",
    "waiting": "dim",
}


def show(path: Path) -> Group:
    """Show how many runs below `path` are in which state, and every one that is not done.

    Each open run has its reason and its log file; a run under way how far it is. The time left is
    that of the runs to come, at the mean of those done, shared by those under way.

    Raises:
        UserError: as for `find`.
    """
    records, problems = find(path)
    counts = Counter(record.status for record in records)
    states = ", ".join(f"{counts[state]} {state}" for state in COLOURS if counts[state])
    table = Table(box=None, pad_edge=False)
    for column in ("status", "run", "why, and its log"):
        table.add_column(column, overflow="fold")
    for record in sorted(records, key=lambda r: list(COLOURS).index(r.status)):
        if record.status != "done":
            table.add_row(
                Text(record.status, COLOURS[record.status]),
                str(_below(path, record)),
                "\n".join(_why(record)),
            )
    lines = [Text(f"{len(records)} runs: {states}{left(records)}"), *map(Text, problems)]
    return Group(*lines, table) if table.row_count else Group(*lines)


def left(records: Sequence[Record]) -> str:
    """Tell when the runs under way and to come may be done; nothing where none is or none was."""
    times = [r.wall_s for r in records if r.status == "done" and r.wall_s is not None]
    running = [r for r in records if r.status == "running"]
    if not times or not running:
        return ""
    coming = sum(record.status in ("waiting", "preempted") for record in records)
    share = coming + sum(1 - (progress(record) or 0) for record in running)
    seconds = math.ceil(share / len(running) * sum(times) / len(times))
    end = datetime.now(UTC).astimezone() + timedelta(seconds=seconds)
    return f"; about {timedelta(seconds=seconds)} left, until {end:%a %H:%M}"


def progress(record: Record) -> float | None:
    """Tell the share of its steps that a run has saved, from its newest state."""
    if record.folder is None:
        return None
    try:
        step, steps = checkpoint.progress(record.folder / checkpoint.FOLDER)
    except (OSError, UserError, ValueError):
        return None
    return step / steps


def _why(record: Record) -> Iterator[str]:
    if record.reason:
        yield record.reason
    share = progress(record)
    if share is not None and record.status != "failed":
        yield f"{share:.0%} of its steps"
    if record.folder is not None and (record.folder / LOG).exists():
        yield str(record.folder / LOG)


def _below(path: Path, record: Record) -> Path:
    assert record.folder is not None
    return record.folder.relative_to(path)
