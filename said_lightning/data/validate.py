"""Everything that can be wrong with a task, before data are read or fetched, and with its rows.

Nothing here imports torch, transformers or datasets, so a wrong task is refused within moments.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import get_args

from said_lightning.data.answering import validate_prompt
from said_lightning.data.examples import Examples
from said_lightning.data.formats import validate_format
from said_lightning.data.formats.lines import superset_of_ascii
from said_lightning.data.labels import unquoted
from said_lightning.data.splits import Split, parts, tested
from said_lightning.data.task import (
    BBC_PACKAGE,
    FileSource,
    HubSource,
    TaskConfig,
    eval_source,
    files_folder,
)
from said_lightning.errors import UserError, suggestion, validate_installed

OF_CLASSES = ("accuracy", "f1", "macro_f1", "weighted_f1", "matthews")
METRICS = {
    "classification": OF_CLASSES,
    "prompt": OF_CLASSES,
    "generate": ("exact_match",),
    "regression": ("pearson", "spearman"),
}
NO_DEV = "task.split=0.1 holds a tenth of train out in place of a dev set"


def validate_task(task: TaskConfig) -> list[str]:
    """Return everything wrong with a task that can be known before data are read or fetched.

    Each message names the key, what was expected and the nearest valid value. Values that are out
    of their field's range are left to `violations`.
    """
    places = _files(task) if task.data_dir is not None else _hub(task)
    return [*validate_description(task), *_dev(task), *(places or validate_parts(task))]


def validate_parts(task: TaskConfig) -> list[str]:
    """Return what is wrong with the splits that select and report, where the others are right."""
    if task.report == "train" or not {task.select, task.report} <= {None, *get_args(Split)}:
        return []
    try:
        parts(task, tested(task))
    except UserError as error:
        return list(error.messages)
    return []


def validate_description(task: TaskConfig) -> list[str]:
    """Return what is wrong with a task, wherever its data lie."""
    if task.kind not in METRICS:
        return []
    return [*_labels(task), *validate_prompt(task), *_metrics(task)]


def _labels(task: TaskConfig) -> list[str]:
    if task.kind == "regression":
        low_high = task.score_range
        good = not low_high or (len(low_high) == 2 and low_high[0] < low_high[1])
        found = [] if good else [f"task.score_range={low_high}: expected [lowest, highest]"]
        return found + (["task.labels: expected none for regression"] if task.labels else [])
    if task.kind == "generate":
        return ["task.labels: expected none for generate"] if task.labels else []
    names = {name.strip() for name in task.labels}
    if len(names) < 2 or len(names) < len(task.labels) or "" in names:
        expected = f"expected two or more different names, in id order{unquoted(names)}"
        return [f"task.labels={task.labels}: {expected}"]
    return []


def _metrics(task: TaskConfig) -> list[str]:
    valid = [m for m in METRICS[task.kind] if m != "f1" or task.num_labels == 2]
    errors = [
        f"task.metrics: unknown for {task.kind} with {task.num_labels} labels: "
        f"{metric!r}{suggestion(metric, valid)}"
        for metric in task.metrics
        if metric not in valid
    ]
    if task.metric not in task.metrics:
        expected = suggestion(task.metric, task.metrics or valid)
        errors.append(f"task.metric={task.metric}: not among task.metrics{expected}")
    return errors


def _dev(task: TaskConfig) -> Iterator[str]:
    """Yield what is wrong with the dev split: none, or one beside the share of train."""
    key = "hub" if task.data_dir is None else "files"
    source, trained = eval_source(task), getattr(task, key)
    if source is None or (task.data_dir is None and task.source == "bbc"):
        if task.split is not None:
            yield f"task.split={task.split:g}: task {task.name} has a dev set; leave it out"
        return
    if task.split is None:
        if source.eval is None and "dev" in (task.select or "dev", task.report or "dev"):
            yield f"task.{key}.eval=null: expected a dev set; {NO_DEV}"
        return
    if source is not trained:
        yield f"task.split={task.split:g}: task {task.name} reports on other data; leave it out"
        return
    if task.rows.eval is not None:
        yield f"task.rows.eval={task.rows.eval}: expected null with task.split, which has no dev"
    if isinstance(source, FileSource) and source.eval is not None:
        path = files_folder(task, source) / source.eval
        if path.is_file():
            yield f"task.split={task.split:g}: {path} is a dev set; leave one out (eval=null)"


def _hub(task: TaskConfig) -> list[str]:
    if task.source == "hub":
        if task.hub is None or not task.hub.path:
            return ["task.hub.path: expected the name of a data set, or task.data_dir=FOLDER"]
        sources = {"hub": task.hub, "eval_hub": task.eval_hub}
        found = validate_installed("datasets", "hub", f"task={task.name} from the hub")
        return found + [e for key, hub in sources.items() if hub for e in _source(task, key, hub)]
    if task.source == "bbc":
        return validate_installed(BBC_PACKAGE, "demo", f"task={task.name}")
    return []


def _source(task: TaskConfig, key: str, source: HubSource | FileSource) -> Iterator[str]:
    """Yield what is wrong with a source's columns, labels and splits, wherever it lies."""
    if len(source.text) not in (1, 2):
        yield f"task.{key}.text={source.text}: expected the names of one or two columns"
    for written, label in source.label_map.items():
        if label not in task.labels:
            near = suggestion(label, task.labels) or "; regression has none"
            near += unquoted([label, *task.labels])
            yield f"task.{key}.label_map: {written}: no label {label!r}{near}"
    for name in source.also:
        if not name.isidentifier() or name in {"train", "select", "report"}:
            yield f"task.{key}.also: {name!r}: expected a name of its own, of letters and digits"


def _files(task: TaskConfig) -> list[str]:
    if task.files is None:
        return [f"task.data_dir={task.data_dir}: task {task.name} has no files; leave it out"]
    given = Path(os.path.expanduser(task.data_dir or ""))
    sources = {"files": task.files, "eval_files": task.eval_files}
    names = {
        "files": [task.files.train, *([] if task.eval_files else _evaluated(task, task.files))],
        "eval_files": _evaluated(task, task.eval_files) if task.eval_files else [],
    }
    errors = []
    for key, files in sources.items():
        if files is not None:
            errors += [*_source(task, key, files), *_format(key, files)]
    try:
        if given.is_file():
            return [*errors, f"task.data_dir={given}: a file; expected the folder that holds it"]
        if not given.is_dir():
            near = suggestion(given.name, _names(given.parent)) if given.parent.is_dir() else ""
            return [*errors, f"task.data_dir={given}: no such folder{near}"]
        for key, files in sources.items():
            if files is not None:
                errors += _missing_files(files, files_folder(task, files), given, names[key])
    except PermissionError as error:
        errors.append(f"{error.filename}: no permission to read")
    except OSError as error:  # such as a name that is too long
        errors.append(f"task.data_dir={given!s:.60}: cannot be read: {error.strerror}")
    return errors


def _evaluated(task: TaskConfig, files: FileSource) -> list[str]:
    # A test set that is not there is for `validate_parts`, dev only read where it is needed.
    spared = (task.select, task.report) == ("train", "test") or task.split is not None
    return [*([] if spared or files.eval is None else [files.eval]), *files.also.values()]


def _missing_files(
    files: FileSource, folder: Path, given: Path, splits: list[str]
) -> Iterator[str]:
    names = [name for split in splits for name in split.split("+")]
    if folder == given and files.folder and not any((folder / name).exists() for name in names):
        near = suggestion(files.folder, _names(given))
        yield f"task.data_dir={given}: no {names[0]} and no folder {files.folder!r}{near}"
        return
    for name in names:
        path = folder / name
        if path.exists() and not path.is_file():
            yield f"{path}: {'a folder' if path.is_dir() else 'no regular file'}; expected a file"
        elif wrong := validate_format(path):
            yield from wrong
        elif not path.is_file():
            near = suggestion(path.name, _names(path.parent)) if path.parent.is_dir() else ""
            yield f"{path}: no such file{near}{f'; {NO_DEV}' if name == files.eval else ''}"


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _format(key: str, files: FileSource) -> Iterator[str]:
    for column in (*files.text, files.label):
        if files.columns and column not in files.columns:
            yield f"task.{key}.columns: no {column!r}{suggestion(column, files.columns)}"
    if files.separator is not None and files.separator != r"\t" and not _parts(files.separator):
        expected = "expected one character that is no letter, digit, quote or line end, such as ;"
        yield f"task.{key}.separator={files.separator!r}: {expected}, or \\t for a tab"
    try:
        superset_of_ascii(files.encoding)
    except (LookupError, ValueError):
        expected = "unknown encoding; expected one such as utf-8, utf-16 or cp1252"
        yield f"task.{key}.encoding={files.encoding!r}: {expected}"


def _parts(separator: str) -> bool:
    """Return whether a separator can part columns."""
    return len(separator) == 1 and not separator.isalnum() and separator not in "\"'\r\n\0"


def validate_splits(
    task: TaskConfig, splits: Mapping[str, Examples], places: Mapping[str, str]
) -> list[str]:
    """Return what is wrong with whole splits side by side; `places` are what messages name.

    No class is met in evaluation alone, and no split serves twice.
    """
    found = []
    named = [name for name in ("train", "select", "report") if name in splits]
    for one, other in combinations(named, 2):
        if splits[one].same_rows(splits[other]):
            does, remedy = ("trains", f"; {NO_DEV}") if one == "train" else ("chooses", "")
            found.append(
                f"{places[other]}: the same rows as {places[one]}, on which a run {does}; expected "
                f"other rows{remedy}"
            )
    if task.classified:
        trained = set(splits["train"].labels.tolist())
        for name in named[1:]:
            counts = Counter(splits[name].labels.tolist())
            found += [
                f"{places[name]}: {counts[one]} rows are {task.labels[one]!r}, of which "
                f"{places['train']} has none; expected each class in train too, or rows without it"
                for one in sorted(counts.keys() - trained)
            ]
    return found


def validate_variety(task: TaskConfig, splits: Mapping[str, Examples]) -> list[str]:
    """Return the parts whose rows have one label alone, from which nothing can be learned."""
    found = []
    for name, rows in splits.items():
        if task.kind != "generate" and len(set(rows.labels.tolist())) == 1:
            label = rows.labels[0].item()
            label = repr(task.labels[label]) if task.classified else f"{label:g}"
            limit = "train_limit" if name == "train" else "eval_limit"
            more = (
                f", or more rows than task.{limit}={given}"
                if (given := getattr(task, limit))
                else ""
            )
            found.append(
                f"task {task.name}: all {len(rows)} {name} rows are {label}; expected two labels "
                f"or more{more}: no {task.metric} is defined without; is the label's column right?"
            )
    return found
