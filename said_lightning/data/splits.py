"""The three splits: rows to train on, rows on which everything is chosen, and rows to report on."""

from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np

from said_lightning.data.batching import Indices
from said_lightning.data.examples import Examples
from said_lightning.data.formats import open_table
from said_lightning.data.task import FileSource, TaskConfig, eval_source, files_folder
from said_lightning.errors import UserError

# The share of the training split that selects, where it has to.
TENTH = 0.1


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
    """The number of rows that train, select and report; None where it is not known yet.

    `split` is the share of the training split that stands in for dev, None where there is a dev.
    """

    train: int | None
    select: int | None
    report: int | None
    parts: Parts
    split: float | None = None

    def __str__(self) -> str:
        train, select, report = (
            "?" if rows is None else f"{rows:,}" for rows in (self.train, self.select, self.report)
        )
        names: dict[str, str] = {"train": "a tenth of train"}
        if self.split is not None:
            names["dev"] = f"dev: {self.split:g} of train"
        where, last = (names.get(one, one) for one in self.parts)
        if not self.parts.held_out:
            return f"{train} train, {select} select and report ({where}; protocol=dev)"
        return f"{train} train, {select} select ({where}), {report} report ({last})"


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
    if not path.is_file():
        return False
    try:
        table = open_table(path, files, [files.label])
        if table.columns is not None and not table.wrong and files.label not in table.columns:
            return False
        _, row = next(table.rows, (table.where, "no row"))
    except OSError:
        return True
    return isinstance(row, str) or row.get(files.label, "") != ""


def held_out(
    rows: Examples, task: TaskConfig, share: float = TENTH, salt: str = "select"
) -> tuple[Indices, Indices]:
    """Part a training split into the rows to train on and a share to hold out, both ascending.

    Rows are chosen by a hash of their content, so the share is the same in every run and on every
    machine; another `salt` chooses others. Each class gives its share of its rows.

    Raise UserError where that leaves no row on either side.
    """
    keys = rows.keys(salt)
    strata = np.zeros(len(rows), np.int64)
    if task.classified:
        strata = np.unique(rows.labels, return_inverse=True)[1]
    chosen = np.zeros(len(rows), bool)
    for stratum in np.unique(strata):
        (members,) = np.nonzero(strata == stratum)
        order = np.argsort(keys[members], kind="stable")
        chosen[members[order[: _share(len(members), share)]]] = True
    if chosen.all() or not chosen.any():
        raise UserError(_too_few(len(rows), share, salt))
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _too_few(rows: int, share: float, salt: str) -> str:
    if salt == "select":
        return (
            f"train: {rows} rows are too few to select on a tenth of them; expected 10 or more, or "
            "task.select=dev with a labelled test set, or protocol=dev"
        )
    return (
        f"train: {rows} rows are too few to hold {share:g} of them out (task.split); expected "
        "more, or a dev set"
    )


def _share(rows: int, share: float) -> int:
    """Return a share of some rows: neither none nor all, but for a row that is alone."""
    return min(max(1, round(rows * share)), rows - 1) if rows > 1 else 0


def expected_rows(task: TaskConfig) -> SplitRows:
    """Return the rows of each part by the task's official counts and limits, unread."""
    chosen = parts(task, tested(task))
    train, dev = task.rows.train, task.rows.eval
    if task.split is not None:
        train, dev = _less(train, task.split)
    evaluated = {"dev": dev, "test": task.rows.test}
    if chosen.select == "train":
        train, evaluated["train"] = _less(train, TENTH)
    return SplitRows(
        limited(train, task.train_limit),
        limited(evaluated[chosen.select], task.eval_limit),
        limited(evaluated[chosen.report], task.eval_limit),
        chosen,
        task.split,
    )


def _less(rows: int | None, share: float) -> tuple[int | None, int | None]:
    """Return the rest of some rows and the share that is taken out."""
    return (None, None) if rows is None else (rows - round(rows * share), round(rows * share))


def limited(rows: int | None, limit: int | None) -> int | None:
    """Return a number of rows, or the limit where that is less; None where it is not known."""
    return rows if rows is None or limit is None else min(rows, limit)
