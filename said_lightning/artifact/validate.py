"""Checks of a file's header, before anything is allocated or loaded: lists of messages."""

import math
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from said_lightning.artifact.coding import LONGEST
from said_lightning.artifact.header import About
from said_lightning.config.validate import (
    validate_method,
    validate_names,
    validate_projection,
)
from said_lightning.data.answering import MATCHES
from said_lightning.data.fields import violations
from said_lightning.data.validate import validate_description
from said_lightning.errors import suggestion
from said_lightning.projections import names

PLAIN = {"theta": ("F32", "BF16"), "scale": ("F32",)}
CODED = {"codebook": ("F16",), "counts": ("U32",), "words": ("U32",)}
HEAD = ("F32", "BF16")


def validate_header(about: About) -> list[str]:
    """Return what is wrong with the config in a file, and with its number m of scales."""
    try:
        config = about.run
    except OmegaConfBaseException as error:
        return [f"config: {str(error).splitlines()[0]}"]
    if config.task.match not in MATCHES:  # what follows would import it
        return [f"config: task.match={config.task.match}: expected {' or '.join(MATCHES)}"]
    found = [
        *violations(config),
        *validate_names(config),
        *validate_method(config),
        *validate_projection(config.projection),
        *validate_description(config.task),
    ]
    if (method := config.method.name) in ("full", "peft"):
        found.append(f"method.name={method}: expected did or said")
    if (name := config.projection.name) not in names():
        found.append(f"projection.name={name}: no such projection{suggestion(name, names())}")
    if not 0 <= about.m < config.d <= LONGEST:
        found.append(f"d={config.d}, m={about.m}: expected 0 <= m < d <= {LONGEST:,}")
    return found


def validate_tensors(header: dict[str, Any], d: int, m: int) -> list[str]:
    """Return the tensors that a safetensors header lacks, or has of another type or shape."""
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
