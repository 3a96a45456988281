"""Finding runs: every folder below a path that holds a record or a run's config."""

import difflib
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic_core import to_json

from said_lightning.errors import UserError
from said_lightning.runs.checkpoint import FOLDER, STATE
from said_lightning.runs.labels import model_label, projection_label, rate_label
from said_lightning.runs.lease import FILE, held
from said_lightning.runs.record import FORMAT, RESULT, Record, parse, read

CONFIG = "config.yaml"
LOG = "train.log"
# In the folder of a sweep with on_error=stop, once a run has failed.
STOPPED = ".stopped"
_TOLD_BY_CONFIG = ("task", "method", "d", "seed", "lr")

# libyaml's loader is ten times as fast, and not in every build of PyYAML.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def find(path: Path) -> tuple[list[Record], list[str]]:
    """Read every run at any depth below `path`, in the order of their folders' names.

    A folder with a `result.json` is a run. One with a `config.yaml` alone is a run under way, cut
    off or planned: its record has status running, preempted or waiting and what the config tells.
    Nothing is sought inside a run's folder, in hidden folders or behind links.

    Returns:
        The records, and one message for each run that could not be read.

    Raises:
        UserError: `path` is no folder, or no run below it can be read.
    """
    if not path.is_dir():
        raise UserError(_no_folder(path))
    records: list[Record] = []
    problems: list[str] = []

    def unreadable(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be read: {error.strerror}")

    for folder, subfolders, files in os.walk(path, onerror=unreadable):
        if RESULT not in files and CONFIG not in files:
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            continue
        subfolders.clear()
        try:
            records.append(at(Path(folder)))
        except UserError as error:
            problems.extend(error.messages)
    if not records:
        raise UserError(*problems, f"{path}: no run below it; a run's folder holds a {RESULT}")
    return records, problems


def at(folder: Path) -> Record:
    """Read the run in a folder: its record, or what its config tells where there is none.

    Raises:
        UserError: neither can be read.
    """
    result = folder / RESULT
    return read(result) if result.exists() else _cut_off(folder / CONFIG)


def _no_folder(path: Path) -> str:
    if path.exists():
        return f"{path}: a file; expected a folder with runs below it"
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1)
    return f"{path}: no such folder" + (f"; did you mean {path.parent / near[0]}?" if near else "")


def _cut_off(path: Path) -> Record:
    """What a run's config tells of the run that left no record."""
    try:
        config = yaml.load(path.read_bytes(), Loader=_Loader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: no YAML, perhaps torn: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path}: no config of a run: expected keys such as model and task")
    told = {key: _name(config[key]) for key in _TOLD_BY_CONFIG if key in config} | _labels(config)
    if told.get("method") == "full":
        # Every config holds both, and full fine-tuning reads neither.
        told |= {"d": None, "projection": None, "space": "all"}
    record = {"format": FORMAT, **_state(path.parent), **told}
    return parse(to_json(record, inf_nan_mode="strings"), path)


def _state(folder: Path) -> dict[str, str]:
    if held(folder):
        return {"status": "running"}
    # A launcher that dies leaves its lease. A log tells nothing: Hydra opens one for each job.
    if (folder / FILE).exists() or (folder / FOLDER / STATE).exists():
        return {"status": "preempted", "reason": "cut off; the same command resumes it"}
    return {"status": "waiting"}


def _labels(config: dict[str, Any]) -> dict[str, Any]:
    """What goes by more than its group's name."""
    told: dict[str, Any] = {}
    method = _name(config.get("method"))
    model, projection, trainer = (config.get(key) for key in ("model", "projection", "trainer"))
    if isinstance(model, dict) and "name" in model:
        told |= {"model": model_label(model), "step": model.get("step")}
    if isinstance(projection, dict):
        told["projection"] = projection_label(projection, trainer or {})
    if isinstance(trainer, dict):
        told |= rate_label(config.get("lr"), str(method), trainer)
    if isinstance(config.get("method"), dict):
        told["space"] = config["method"].get("space", "all")
    return told


def _name(value: Any) -> Any:
    """A config group, such as `model: {name: minilm, ...}`, goes by its name."""
    return value.get("name") if isinstance(value, dict) else value
