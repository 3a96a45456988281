"""The three splits: rows to train on, rows on which everything is chosen, and rows to report on."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np

from said_lightning.data.batching import Indices
from said_lightning.data.examples import Examples
from said_lightning.data.task import FileSource, TaskConfig, eval_source, files_folder
from said_lightning.errors import UserError

# One of as many rows of the training split selects, where it has to.
TENTH = 10


SELECTS_AND_REPORTS = (
    "task.select={}: it would report too; expected another split, such as train, or protocol=dev, "
    "which chooses and reports on dev"
)

Split = Literal["train", "dev", "test"]


class Parts(NamedTuple):
    """The file split that plays each part: `select` is train for a tenth of it, dev or test."""

    select: Split
    report: Split

    @property
    def held_out(self) -> bool:
        """Whether nothing is chosen on the rows that report."""
        return self.select != self.report


class SplitRows(NamedTuple):
    """The number of rows that train, select and report; None where it is not known yet."""

    train: int | None
    select: int | None
    report: int | None
    parts: Parts

    def __str__(self) -> str:
        train, select, report = (
            "?" if rows is None else f"{rows:,}" for rows in (self.train, self.select, self.report)
        )
        where = "a tenth of train" if self.parts.select == "train" else self.parts.select
        if not self.parts.held_out:
            return f"{train} train, {select} select and report ({where}; protocol=dev)"
        return f"{train} train, {select} select ({where}), {report} report ({self.parts.report})"


def parts(task: TaskConfig, tested: bool) -> Parts:
    """Return the splits that select and report; `tested` is whether there is a labelled test set.

    Where there is one, dev selects and test reports; elsewhere a tenth of train selects and dev
    reports. What the task names itself comes first; dev twice is the protocol `dev`.

    Raise UserError where the two are the same or the test set that they need is not there.
    """
    if task.select == task.report == "dev":
        return Parts("dev", "dev")
    report = task.report or ("test" if tested and task.select != "test" else "dev")
    select = task.select or ("dev" if report == "test" else "train")
    chosen = Parts(cast(Split, select), cast(Split, report))
    if not chosen.held_out:
        raise UserError(SELECTS_AND_REPORTS.format(chosen.select))
    if "test" in chosen and not tested:
        key = "report" if report == "test" else "select"
        raise UserError(
            f"task.{key}=test: task {task.name} has no labelled test set here{_place(task)}; "
            f"expected one, or {'dev' if key == 'report' else 'train'}"
        )
    return chosen


def _place(task: TaskConfig) -> str:
    source = eval_source(task)
    if isinstance(source, FileSource):
        if source.test is None:
            return ", task.files.test=FILE names it"
        return f" ({files_folder(task, source) / source.test})"
    return f" ({source.path}, split {source.test})" if source else ""


def tested(task: TaskConfig) -> bool:
    """Return whether a task has a labelled test set; of one on the hub, whether it names one."""
    source = eval_source(task)
    if (task.data_dir is None and task.source == "bbc") or source is None or source.test is None:
        return False
    if not isinstance(source, FileSource):
        return True
    folder = files_folder(task, source)
    return all(labelled(folder / name, source) for name in source.test.split("+"))


def labelled(path: Path, files: FileSource) -> bool:
    """Return whether a file is there and its first row has a label.

    A file that is malformed counts as labelled: reading it reports what is wrong.
    """
    try:
        with path.open(encoding=files.encoding, errors="replace", newline="") as file:
            if path.suffix == ".jsonl":
                row = json.loads(file.readline())
                return not isinstance(row, dict) or row.get(files.label) not in (None, "")
            tabs = (line.rstrip("\r\n").split("\t") for line in file)
            rows = csv.reader(file) if path.suffix == ".csv" else tabs
            columns = files.columns or [name.removeprefix("\ufeff") for name in next(rows, [])]
            first = next(rows, [])
    except OSError:
        return False
    except (ValueError, LookupError, csv.Error):
        return True
    if files.label not in columns:
        return False
    return len(first) != len(columns) or first[columns.index(files.label)] != ""


def tenth(rows: Examples, stratify: bool) -> tuple[Indices, Indices]:
    """Part a training split into the rows to train on and a tenth to select on, both ascending.

    Rows are chosen by a hash of their content, so the tenth is the same in every run and on every
    machine. With `stratify` each label gives a tenth of its rows.

    Raise UserError where that leaves no row on either side.
    """
    keys = np.array([_key(line) for line in rows.encoded()], np.uint64)
    strata = np.unique(rows.labels, return_inverse=True)[1] if stratify else np.zeros(len(rows))
    chosen = np.zeros(len(rows), bool)
    for stratum in np.unique(strata):
        (members,) = np.nonzero(strata == stratum)
        order = np.argsort(keys[members], kind="stable")
        chosen[members[order[: _share(len(members))]]] = True
    if chosen.all() or not chosen.any():
        raise UserError(
            f"train: {len(rows)} rows are too few to select on a tenth of them; expected "
            f"{TENTH} or more, or task.select=dev with a labelled test set, or protocol=dev"
        )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _share(rows: int) -> int:
    """Return a tenth of some rows: one at least, but for a row that is alone."""
    return max(1, round(rows / TENTH)) if rows > 1 else 0


def _key(line: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"select\0" + line).digest()[:8], "big")


def expected_rows(task: TaskConfig) -> SplitRows:
    """Return the rows of each part by the task's official counts and limits, unread."""
    chosen = parts(task, tested(task))
    official = {"train": task.rows.train, "dev": task.rows.eval, "test": task.rows.test}
    train = official["train"]
    if chosen.select == "train" and train is not None:
        official["train"] = train - (share := round(train / TENTH))
        select: int | None = share
    else:
        select = official[chosen.select] if chosen.select != "train" else None
    return SplitRows(
        limited(official["train"], task.train_limit),
        limited(select, task.eval_limit),
        limited(official[chosen.report], task.eval_limit),
        chosen,
    )


def limited(rows: int | None, limit: int | None) -> int | None:
    """Return a number of rows, or the limit where that is less; None where it is not known."""
    return rows if rows is None or limit is None else min(rows, limit)
