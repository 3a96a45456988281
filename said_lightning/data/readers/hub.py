"""The reader of data sets on the Hugging Face hub, or in its cache where there is no network."""

from collections.abc import Iterator
from typing import Any

from said_lightning.data.examples import Collector, Read
from said_lightning.data.task import HubSource, TaskConfig
from said_lightning.errors import UserError, needs

# Rows taken out of a memory-mapped data set at once.
CHUNK = 1000
# How the message of `datasets` begins where a data set at hand lacks a split or configuration.
WRONG_NAME = ("Unknown split", "BuilderConfig")


def read_split(task: TaskConfig, hub: HubSource, split: str, rows: int | None) -> Collector:
    """Load a split with `datasets`, which honours HF_HUB_OFFLINE, and check every row.

    A data set that is neither cached nor within reach is a UserError that names the command that
    fetches it.
    """
    dataset = _load(task, hub, split)
    place = f"{hub.path}{f'/{hub.name}' if hub.name else ''} ({split})"
    found = Collector(task, hub, place, rows)
    if found.has_columns(place, dataset.column_names, _no_text(dataset.features, found.columns)):
        found.add_all(_rows(dataset, place, found.columns))
    return found


def split_labelled(task: TaskConfig, hub: HubSource, split: str) -> bool:
    """Return whether the first row of a split has a label; raise UserError as `read_split`."""
    dataset = _load(task, hub, split)
    if hub.label not in dataset.column_names:
        return False
    return _written(dataset.features[hub.label], dataset[:1][hub.label]) != [""]


def _load(task: TaskConfig, hub: HubSource, split: str) -> Any:
    datasets = needs("datasets", "hub", f"task={task.name} from the hub")
    try:
        return datasets.load_dataset(hub.path, hub.name, split=split)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        if reason.startswith(WRONG_NAME):
            raise UserError(f"task={task.name}: {hub.path}: {reason}") from error
        raise UserError(_how_to_fetch(task, hub, reason)) from error


def _how_to_fetch(task: TaskConfig, hub: HubSource, reason: str) -> str:
    name = f", {hub.name!r}" if hub.name else ""
    command = f'python -c "from datasets import load_dataset; load_dataset({hub.path!r}{name})"'
    folder = "" if task.files is None else "; or give the original files with task.data_dir=FOLDER"
    return (
        f"task={task.name}: {reason.removesuffix('.')}; to fetch it once where there is a network: "
        f"{command}{folder}"
    )


def _no_text(features: Any, columns: tuple[str, ...]) -> str | None:
    """Return what is wrong where a column holds lists or the like, which are no text."""
    for column in columns:
        if column in features and not hasattr(features[column], "dtype"):
            return f"column {column!r} holds {features[column]}, expected text or a number"
    return None


def _rows(dataset: Any, place: str, columns: tuple[str, ...]) -> Iterator[Read]:
    """Yield rows as written text: nothing for null, the name for a class id."""
    number = 0
    for chunk in dataset.select_columns(list(columns)).iter(CHUNK):
        texts = [_written(dataset.features[column], chunk[column]) for column in columns]
        for row in zip(*texts, strict=True):
            yield f"{place}, row {number}", dict(zip(columns, row, strict=True))
            number += 1


def _written(feature: Any, values: list[Any]) -> list[str]:
    """Write values out; a ClassLabel by name, for its ids need not be in the task's order."""
    names = getattr(feature, "names", None)
    if names is not None:
        # -1 stands for no label, as in test sets.
        values = [names[value] if value not in (None, -1) else None for value in values]
    return ["" if value is None else str(value) for value in values]
