"""The config that a run keeps in its folder: written whole, read again, compared."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from yaml import AliasEvent, YAMLError

from said_lightning.config.identity import LABELS, RunSpec, decisive, digest
from said_lightning.config.schema import Config
from said_lightning.errors import UserError
from said_lightning.runs import record as records
from said_lightning.runs.files import read_whole, write_whole
from said_lightning.runs.index import CONFIG

T = TypeVar("T")


def write_config(spec: RunSpec, alone: bool = False) -> None:
    """Write a run's config into its folder, resolved and whole; `alone` as in write_whole."""
    spec.folder.mkdir(parents=True, exist_ok=True)
    text = OmegaConf.to_yaml(OmegaConf.create(asdict(spec.config)))
    write_whole(spec.folder / CONFIG, text.encode(), alone=alone)


def plan(spec: RunSpec) -> None:
    """Leave a run's config and a record that waits in its folder, unless they are there.

    Another launcher may plan the same run at once: either's files will do. Raises UserError where
    they cannot be written.
    """
    try:
        with suppress(FileExistsError, FileNotFoundError):
            if not (spec.folder / CONFIG).exists():
                write_config(spec, alone=True)
            if not (spec.folder / records.RESULT).exists():
                records.write(waiting(spec), spec.folder)
    except OSError as error:
        raise UserError(f"{spec.folder}: cannot be written: {error.strerror}") from None


def waiting(spec: RunSpec) -> records.Record:
    """Return the record of a run that has not begun."""
    return records.Record(**spec.labels, status="waiting")


def read_config(folder: Path) -> Config:
    """Read the config that a run left in its folder; raise UserError where it is none."""
    return read_yaml(folder / CONFIG, typed, "config of a run")


def read_yaml(path: Path, make: Callable[[Any], T], what: str) -> T:
    """Return what `make` makes of a YAML file that a run left; raise UserError where it is none.

    `make` may raise ValueError or an error of OmegaConf.
    """
    try:
        content = read_whole(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        text = content.decode()
        # Aliases of aliases would fill the memory, and no run writes one.
        if "*" in text and any(isinstance(event, AliasEvent) for event in yaml.parse(text)):
            raise ValueError("expected values, found an alias")
        return make(OmegaConf.load(StringIO(text)))
    # OmegaConf raises OSError for what is neither keys nor a list.
    except (OSError, ValueError, RecursionError, YAMLError, OmegaConfBaseException) as error:
        found = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: no {what}: {found}") from None


def typed(plain: Any) -> Config:
    """Return the values that a run left as a Config, with its defaults where a key is left out.

    Raises OmegaConfBaseException for an unknown key, a value of another type, and for an
    interpolation, which would read other values, such as this environment's.
    """
    node = OmegaConf.create(plain)
    if "${" in repr(OmegaConf.to_container(node)):
        raise InterpolationResolutionError("expected values, found an interpolation")
    config: Config = OmegaConf.to_object(  # type: ignore[assignment]
        OmegaConf.merge(_schema(), node)
    )
    return config


@cache
def _schema() -> DictConfig:
    """Return the schema, which takes longer to make than a merge to copy."""
    return OmegaConf.structured(Config)


def read_spec(folder: Path, cwd: Path) -> RunSpec:
    """Return the spec of a planned run from its folder, neither composed nor hashed again.

    Raises UserError where the folder holds no planned run.
    """
    record, config = records.read(folder / records.RESULT), read_config(folder)
    labels = {key: getattr(record, key) for key in LABELS}
    spec = RunSpec(config, "", labels, cwd)
    return replace(spec, name=folder.relative_to(spec.out).as_posix())


def validate_stored(spec: RunSpec) -> list[str]:
    """Return each key in which the config in a run's folder is another than the run's own."""
    path = spec.folder / CONFIG
    if not os.path.exists(path):  # of any name, which others judge
        return []
    try:
        found = decisive(read_config(spec.folder))
    except UserError as error:
        return list(error.messages)
    if digest(found) == spec.labels["config_hash"]:
        return []
    there, expected = _flat(found), _flat(decisive(spec.config))
    return [
        f"{path}: {key}={there.get(key)}: expected {expected.get(key)}; "
        "this folder belongs to another run, whose state cannot be resumed: move it away"
        for key in sorted(there | expected)
        if there.get(key) != expected.get(key)
    ]


def _flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        inner = _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {}
        found |= inner or {f"{prefix}{key}": value}
    return found
