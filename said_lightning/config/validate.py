"""What is wrong with a config: found without torch, without the network, and all of it at once."""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from said_lightning.config.schema import Config, LoggerConfig, ProjectionConfig, SearchConfig
from said_lightning.data.fields import violations, violations_of
from said_lightning.data.splits import SELECTS_AND_REPORTS
from said_lightning.data.validate import validate_task
from said_lightning.errors import suggestion, validate_installed


def validate_config(config: Config) -> list[str]:
    """Return everything that is wrong with a config's values, a message each."""
    return [
        *violations(config),
        *validate_family(config),
        *validate_method(config),
        *validate_projection(config.projection),
        *validate_growth(config),
        *validate_protocol(config),
        *validate_task(config.split_task),
        *validate_logger(config.logger),
    ]


def validate_protocol(config: Config) -> list[str]:
    """Return the splits that a task names against the protocol."""
    named = {key: getattr(config.task, key) for key in ("select", "report")}
    if config.protocol == "dev":
        return [
            f"task.{key}={split}: expected null with protocol=dev, which chooses and reports on dev"
            for key, split in named.items()
            if split not in (None, "dev")
        ]
    return [SELECTS_AND_REPORTS.format("dev")] if set(named.values()) == {"dev"} else []


def validate_family(config: Config) -> list[str]:
    """Return the members of the model's family that do not exist."""
    found = []
    for key in ("size", "step", "run"):
        value, members = getattr(config.model, key), getattr(config.model, f"{key}s")
        if value not in (members or [None]):
            near = suggestion(str(value), members) or f"; {config.model.name} has no {key}s"
            found.append(f"model.{key}={value}: not one of the family{near}")
    return found


def validate_method(config: Config) -> list[str]:
    """Return what is wrong with how a subspace is laid into the weights."""
    found = []
    method = config.method
    if (config.trainer.precision, method.origin) == ("bf16-true", "none"):
        found.append(
            "trainer.precision=bf16-true: expected method.origin=copy, since bfloat16 weights "
            "would lose the differences that are added to them"
        )
    if (method.space, method.head) == ("head", "outside"):
        found.append("method.head=outside: expected inside, since method.space=head is the head")
    return found


def validate_projection(projection: ProjectionConfig) -> list[str]:
    """Return the options that are not the named projection's own."""
    takes = {field.name: field.metadata.get("projections", ()) for field in fields(projection)}
    return [
        f"projection.{key}={value}: {projection.name} has no such option; "
        f"expected it with projection={' or '.join(takes[key])} alone"
        for key, value in projection.options.items()
        if projection.name not in takes[key]
    ]


def validate_growth(config: Config) -> list[str]:
    """Return what is wrong with a d that grows."""
    first = config.trainer.grow_from
    if first is None or first < config.d:
        return []
    return [f"trainer.grow_from={first}: expected at least 1 and less than d={config.d}"]


def validate_logger(logger: LoggerConfig) -> list[str]:
    """Return a message where the package that a logger needs is not installed."""
    return validate_installed("wandb", "wandb", "logger=wandb") if logger.name == "wandb" else []


def validate_search(sweeper: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the values of hydra.sweeper, those of hydra/sweeper=d90."""
    values = {key: sweeper[key] for key in SearchConfig.__dataclass_fields__}
    found = violations_of(SearchConfig, values, "hydra.sweeper.")
    if not found and values["low"] >= values["high"]:
        low, high = values["low"], values["high"]
        found.append(f"hydra.sweeper.low={low}: expected less than high={high}")
    return found


def validate_out(out: Path) -> list[str]:
    """Return why no run can be kept below a folder; nothing is made."""
    there = next(one for one in (out, *out.parents) if os.path.exists(one))
    if not there.is_dir():
        return [f"out={out}: {there} is a file; expected a folder"]
    if not os.access(there, os.W_OK | os.X_OK):
        return [f"out={out}: {there} cannot be written"]
    return []
