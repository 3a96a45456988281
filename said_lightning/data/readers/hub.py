"""The reader of data sets on the Hugging Face hub, or in its cache where there is no network."""

from collections.abc import Mapping
from typing import Any

from said_lightning.data.examples import Collector
from said_lightning.data.formats import arrow
from said_lightning.data.task import HubSource, TaskConfig
from said_lightning.errors import UserError, needs

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
    names = dataset.column_names
    there = [column for column in found.columns if column in names]
    wrong = arrow.validate_types(dataset.features.arrow_schema, there)
    if found.has_columns(place, names, wrong):
        chunks = dataset.select_columns(there).iter(arrow.CHUNK)
        found.add_all(arrow.rows(chunks, place, _class_names(dataset.features)))
    return found


def split_labelled(task: TaskConfig, hub: HubSource, split: str) -> bool:
    """Return whether the first row of a split has a label; raise UserError as `read_split`."""
    dataset = _load(task, hub, split)
    if hub.label not in dataset.column_names:
        return False
    names = _class_names(dataset.features).get(hub.label)
    return arrow.written(dataset[:1][hub.label], names) != [""]


def _class_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    return {column: one.names for column, one in features.items() if hasattr(one, "names")}


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
