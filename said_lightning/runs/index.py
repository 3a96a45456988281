"""Finding runs: every folder below a path that holds a record, and the state of those not ended."""

import difflib
import os
from dataclasses import replace
from pathlib import Path

from said_lightning.errors import UserError
from said_lightning.runs.checkpoint import FOLDER, STATE
from said_lightning.runs.lease import FILE, held
from said_lightning.runs.record import RESULT, Record, read

CONFIG = "config.yaml"
LOG = "train.log"
# In the folder of a sweep with on_error=stop, once a run has failed.
STOPPED = ".stopped"
CUT_OFF = "cut off; the same command resumes it"


def find(path: Path) -> tuple[list[Record], list[str]]:
    """Read every run at any depth below `path`, in the order of their folders' names.

    A folder with a `result.json` is a run, and one with a `config.yaml` alone is a run whose record
    is missing. Runs are not looked for inside a run's folder, in hidden folders or behind links.

    Returns:
        The records, and one message for each run that could not be read.

    Raises:
        UserError: `path` is no folder, or no run below it can be read.
    """
    if not path.is_dir():
        raise UserError(_no_folder(path))
    records: list[Record] = []
    errors: list[str] = []

    def unreadable(error: OSError) -> None:
        errors.append(f"{error.filename}: cannot be read: {error.strerror}")

    for folder, subfolders, files in os.walk(path, onerror=unreadable):
        if RESULT not in files and CONFIG not in files:
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            continue
        subfolders.clear()
        try:
            records.append(at(Path(folder)))
        except UserError as error:
            errors.extend(error.messages)
    if not records:
        raise UserError(*errors, f"{path}: no run below it; a run's folder holds a {RESULT}")
    return records, errors


def at(folder: Path) -> Record:
    """Read the run in a folder; one that waits by its record may be running or preempted by now.

    It is running while a launcher holds its lease, and preempted once it was cut off: a launcher
    that is killed leaves its lease, and a run that has begun its state.

    Raises:
        UserError: its record is missing or cannot be read; one message.
    """
    if not (folder / RESULT).exists() and (folder / CONFIG).exists():
        raise UserError(
            f"{folder}: a run without its record: expected {RESULT} beside {CONFIG}; "
            "run the same command again"
        )
    record = read(folder / RESULT)
    if record.status != "waiting":
        return record
    if held(folder):
        return replace(record, status="running")
    # A log proves nothing: Hydra opens one for each job.
    if (folder / FILE).exists() or (folder / FOLDER / STATE).exists():
        return replace(record, status="preempted", reason=CUT_OFF)
    return record


def _no_folder(path: Path) -> str:
    if path.exists():
        return f"{path}: a file; expected a folder with runs below it"
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1)
    return f"{path}: no such folder" + (f"; did you mean {path.parent / near[0]}?" if near else "")
