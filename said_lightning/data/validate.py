"""Everything that can be wrong with a task, known before data are read or fetched.

Nothing here imports torch, transformers or datasets, so a wrong task is refused within moments.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from said_lightning.data.splits import Split, parts, tested
from said_lightning.data.task import BBC_PACKAGE, FileSource, HubSource, TaskConfig, files_folder
from said_lightning.errors import UserError, suggestion, validate_installed

METRICS = {"classification": ("accuracy", "f1", "matthews"), "regression": ("pearson", "spearman")}
SUFFIXES = (".tsv", ".txt", ".csv", ".jsonl")


def validate_task(task: TaskConfig) -> list[str]:
    """Return everything wrong with a task that can be known before data are read or fetched.

    Each message names the key, what was expected and the nearest valid value. Values that are out
    of their field's range are left to `violations`.
    """
    places = _files(task) if task.data_dir is not None else _hub(task)
    return [*validate_description(task), *(places or validate_parts(task))]


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
    return [*_labels(task), *_metrics(task)]


def _labels(task: TaskConfig) -> list[str]:
    if task.kind == "regression":
        low_high = task.score_range
        good = not low_high or (len(low_high) == 2 and low_high[0] < low_high[1])
        found = [] if good else [f"task.score_range={low_high}: expected [lowest, highest]"]
        return found + (["task.labels: expected none for regression"] if task.labels else [])
    if len(task.labels) < 2 or len(set(task.labels)) < len(task.labels):
        return [f"task.labels={task.labels}: expected two or more different names, in id order"]
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
            yield f"task.{key}.label_map: {written}: no label {label!r}{near}"
    for name in source.also:
        if not name.isidentifier() or name in {"train", "select", "report"}:
            yield f"task.{key}.also: {name!r}: expected a name of its own, of letters and digits"


def _files(task: TaskConfig) -> list[str]:
    if task.files is None:
        return [f"task.data_dir={task.data_dir}: task {task.name} has no files; leave it out"]
    given = Path(task.data_dir or "").expanduser()
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
        if not given.is_dir():
            near = suggestion(given.name, _names(given.parent)) if given.parent.is_dir() else ""
            return [*errors, f"task.data_dir={given}: no such folder{near}"]
        for key, files in sources.items():
            if files is not None:
                errors += _missing_files(files, files_folder(task, files), given, names[key])
    except PermissionError as error:
        errors.append(f"{error.filename}: no permission to read")
    return errors


def _evaluated(task: TaskConfig, files: FileSource) -> list[str]:
    # A test set that is not there is for `validate_parts`, dev only read where it is needed.
    spared = (task.select, task.report) == ("train", "test")
    return [*([] if spared else [files.eval]), *files.also.values()]


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
        if path.suffix not in SUFFIXES:
            yield f"{path}: expected a file that ends in {', '.join(SUFFIXES)}"
        elif not path.is_file():
            near = suggestion(path.name, _names(path.parent)) if path.parent.is_dir() else ""
            yield f"{path}: no such file{near}"


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _format(key: str, files: FileSource) -> Iterator[str]:
    for column in (*files.text, files.label):
        if files.columns and column not in files.columns:
            yield f"task.{key}.columns: no {column!r}{suggestion(column, files.columns)}"
    try:
        if "\n\t".encode(files.encoding) == b"\n\t":
            return
        reason = "not a superset of ASCII; convert the files"
    except LookupError:
        reason = "unknown encoding"
    yield f"task.{key}.encoding={files.encoding}: {reason}; expected one such as utf-8 or cp1252"
