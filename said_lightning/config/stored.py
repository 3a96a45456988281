"""The config that a run keeps in its folder: written whole, read again, compared."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from said_lightning.config.schema import Config, decisive
from said_lightning.errors import UserError
from said_lightning.runs.files import write_whole
from said_lightning.runs.index import CONFIG

# What runs that are compared may differ in, or what their records tell apart.
_TOLD = {
    "trainer": ("epochs", "step_ratio", "full_lr", "stop_at", "grow_from"),
    "model": ("path", "revision"),
    "task": ("data_dir",),
}


def write_config(cfg: DictConfig, folder: Path, alone: bool = False) -> None:
    """Writes a run's config into its folder, resolved and whole; `alone` as in write_whole."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / CONFIG, OmegaConf.to_yaml(cfg, resolve=True).encode(), alone=alone)


def read_config(folder: Path) -> DictConfig:
    """Reads the config that a run left in its folder; raises UserError where it is none."""
    path = folder / CONFIG
    try:
        found = with_schema(OmegaConf.load(path))
        OmegaConf.resolve(found)
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: no config of a run: {str(error).splitlines()[0]}") from None
    return found


def unwritable(out: str) -> list[str]:
    """Tells why no run can be kept below `out`; makes nothing."""
    path = Path(out)
    there = next(one for one in (path, *path.parents) if os.path.exists(one))
    if not there.is_dir():
        return [f"out={out}: {there} is a file; expected a folder"]
    if not os.access(there, os.W_OK | os.X_OK):
        return [f"out={out}: {there} cannot be written"]
    return []


def with_schema(plain: Any) -> DictConfig:
    """Gives plain values the types of Config, and its defaults where they lack a key."""
    config = OmegaConf.merge(OmegaConf.structured(Config), plain)
    assert isinstance(config, DictConfig)
    return config


def foreign(cfg: DictConfig, folder: Path) -> list[str]:
    """Tells each key in which the config in a run's folder is another than the run's own."""
    if not (folder / CONFIG).exists():
        return []
    try:
        found = _flat(decisive(read_config(folder)))
    except UserError as error:
        return list(error.messages)
    expected = _flat(decisive(cfg))
    return [
        f"{folder / CONFIG}: {key}={found.get(key)}: expected {expected.get(key)}; "
        "this folder belongs to another run, whose state cannot be resumed: move it away"
        for key in sorted(found | expected)
        if found.get(key) != expected.get(key)
    ]


def setting_hash(cfg: DictConfig) -> str:
    """Gives 8 hex digits that differ where two runs of one lane, or its baseline, do not compare.

    That is where they differ in what is neither the lane's own nor tried within it, such as the
    batch size; other data, weights and epochs are told apart by the record itself.
    """
    found = decisive(cfg)
    for key in ("d", "seed", "lr", "method", "projection"):
        found.pop(key, None)
    for part, keys in _TOLD.items():
        found[part] = {key: value for key, value in found[part].items() if key not in keys}
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:8]


def _flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Gives nested values by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        inner = _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {}
        found |= inner or {f"{prefix}{key}": value}
    return found
