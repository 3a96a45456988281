"""What the header of a file may claim; nothing is allocated or loaded before it is checked."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from said_lightning.artifact.coding import LONGEST
from said_lightning.config.schema import choice_problems, method_problems, typed
from said_lightning.config.stored import with_schema
from said_lightning.data.task import suggestion
from said_lightning.data.validate import described_errors
from said_lightning.projections import names

# What encoder, subspace and model card need of a run's task.
OF_TASK = ("name", "kind", "labels", "score_range", "metric", "metrics", "max_length")
OF_MODEL = ("name", "path", "revision", "layers")
PLAIN = {"theta": ("F32", "BF16"), "scale": ("F32",)}
CODED = {"codebook": ("F16",), "counts": ("U32",), "words": ("U32",)}
HEAD = ("F32", "BF16")


def carried(config: dict[str, Any]) -> dict[str, Any]:
    """Gives the part of a run's config, plain and resolved, that a file carries.

    A default that is no value is left out, every other is told: it may change in a later version.
    """
    parts = {
        "model": {key: config["model"].get(key) for key in OF_MODEL},
        "task": {key: config["task"].get(key) for key in OF_TASK},
        "method": config["method"],
        # Which engine draws P is up to the machine that reads the file.
        "projection": {k: v for k, v in config["projection"].items() if k != "engine"},
    }
    told = {
        part: {key: value for key, value in values.items() if value not in (None, [])}
        for part, values in parts.items()
    }
    return told | {"d": config["d"], "seed": config["seed"]}


def groups_digest(sizes: Mapping[str, int]) -> str:
    """Hashes the groups of tensors: their names, numbers of weights, and order."""
    return hashlib.blake2b(json.dumps(list(sizes.items())).encode(), digest_size=8).hexdigest()


def complete(config: dict[str, Any]) -> DictConfig:
    """Gives the config in a file the types of Config, and its defaults where it lacks a key.

    Raises OmegaConfBaseException for a key that Config lacks or a value of another type.
    """
    return with_schema({**config, "logger": {"name": "none"}})


def interpolations(config: dict[str, Any]) -> list[str]:
    """Tells whether a config would read other values, such as the environment's, once resolved."""
    return ["config: expected values, found an interpolation"] if "${" in repr(config) else []


def claims(cfg: DictConfig, m: int) -> list[str]:
    """Tells what is wrong with the config in a file, and with its number m of scales."""
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        return [f"{key}: has no value" for key in missing]
    found = choice_problems(cfg) + method_problems(cfg) + described_errors(typed(cfg).task)
    if cfg.method.name == "full":
        found.append("method.name=full: expected did or said")
    if (name := str(cfg.projection.name)) not in names():
        found.append(f"projection.name={name}: no such projection{suggestion(name, names())}")
    if "engine" in cfg.projection:
        found.append("projection.engine: expected none, since it is up to who reads the file")
    if not 0 <= m < cfg.d <= LONGEST:
        found.append(f"d={cfg.d}, m={m}: expected 0 <= m < d <= {LONGEST:,}")
    if cfg.seed < 0:
        found.append(f"seed={cfg.seed}: expected 0 or more")
    return found


def tensor_problems(header: dict[str, Any], d: int, m: int) -> list[str]:
    """Tells which tensors a safetensors header lacks, or gives another type or shape."""
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    coded = "words" in tensors
    expected = CODED if coded else PLAIN
    known = {name for name in tensors if name in expected or name.startswith("head.")}
    found = [f"{name}: no such tensor in an artifact" for name in tensors if name not in known]
    found += [f"{name}: missing" for name in expected if name not in tensors]
    sizes = {} if coded else {"theta": d - m, "scale": m}
    for name in sorted(known):
        types = expected.get(name, HEAD)
        try:
            dtype, shape = tensors[name]["dtype"], tensors[name]["shape"]
            good = dtype in types and all(type(size) is int and size >= 0 for size in shape)
            flat = name not in expected or len(shape) == 1
            sized = math.prod(shape) == sizes.get(name, math.prod(shape))
        except (KeyError, TypeError):
            good = False
        if not (good and flat and sized):
            size = f" of {sizes[name]:,} numbers" if name in sizes else ""
            found.append(f"{name}: expected {' or '.join(types)}{size}")
    return found
