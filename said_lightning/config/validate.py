"""What is wrong with a config: found without torch, without the network, and all of it at once."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from said_lightning.config.plugins import SearchConfig, SlurmConfig
from said_lightning.config.schema import Config, LoggerConfig, ProjectionConfig
from said_lightning.data.fields import violations, violations_of
from said_lightning.data.splits import SELECTS_AND_REPORTS
from said_lightning.data.validate import validate_task
from said_lightning.errors import suggestion, validate_installed
from said_lightning.runs.labels import validate_name
from said_lightning.runs.secrets import scrub, validate_secret

# What a run's config.yaml cannot hold: halves of characters, control characters, and what would
# be another value once it is read.
_UNWRITABLE = re.compile(r"[\ud800-\udfff\x00-\x08\x0b-\x1f\x7f]|\$\{|^\?\?\?$")
# A folder's name in bytes, and a path's, as file systems take them.
_NAME, _PATH = 255, 4095
_PROJECT = 128  # what W&B takes
# Keywords of wandb.init that are said otherwise.
_OURS = {
    **{key: f"logger.{key} says it" for key in ("project", "mode")},
    **dict.fromkeys(("id", "dir", "resume", "config"), "follows from the run; leave it out"),
}


def validate_config(config: Config) -> list[str]:
    """Return everything that is wrong with a config's values, a message each."""
    return [
        *violations(config),
        *validate_names(config),
        *validate_family(config),
        *validate_method(config),
        *validate_adapter(config),
        *validate_projection(config.projection),
        *validate_growth(config),
        *validate_protocol(config),
        *validate_task(config.split_task),
        *validate_logger(config.logger),
    ]


def validate_text(plain: Mapping[str, Any]) -> list[str]:
    """Return each text of nested values that a run's config.yaml cannot or must not hold."""
    texts = list(_texts(plain))
    found = [
        f"{key}={text!r:.60}: expected text without control characters and without ${{"
        for key, text in texts
        if _UNWRITABLE.search(text)
    ]
    return found + validate_secrets(plain)


def validate_secrets(plain: Any, place: str = "") -> list[str]:
    """Return a message for each text of nested values, those of a place, that holds a secret."""
    # With its key: api_key=1234 is known by its name alone.
    texts = [(key, f"{key}={text}") for key, text in _texts(plain, place)]
    whole = "\0".join(text for _, text in texts)
    if scrub(whole) == whole:
        return []
    return [line for key, text in texts for line in validate_secret(key, text)]


def _texts(node: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in nested values, keys of mappings included, with its dotted key."""
    if isinstance(node, str):
        yield place, node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield place, str(key)
            yield from _texts(value, f"{place}.{key}".removeprefix("."))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from _texts(value, f"{place}[{number}]")


def validate_names(config: Config) -> list[str]:
    """Return the names that no folder, label or table can bear."""
    model, task = config.model, config.task
    names = {"model.name": model.name, "task.name": task.name}
    names["projection.name"] = config.projection.name
    names |= {f"model.{key}": getattr(model, key) for key in ("size", "step", "run")}
    for key in ("hub", "files", "eval_hub", "eval_files"):
        also = getattr(getattr(task, key), "also", {})
        names |= {f"task.{key}.also[{number}]": name for number, name in enumerate(also)}
    return [
        line for key, name in names.items() if name is not None for line in validate_name(key, name)
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
    matrices = config.projection.name == "kronecker"
    if (config.trainer.precision, method.origin) == ("bf16-true", "none") and not matrices:
        found.append(
            "trainer.precision=bf16-true: expected method.origin=copy, since bfloat16 weights "
            "would lose the differences that are added to them"
        )
    if (method.space, method.head) == ("head", "outside"):
        found.append("method.head=outside: expected inside, since method.space=head is the head")
    if config.task.prompted:
        heads = {"method.head": (method.head, "inside"), "model.head": (config.model.head, "new")}
        found += [
            f"{key}={value}: expected {plain}, since task.kind={config.task.kind} has no head"
            for key, (value, plain) in heads.items()
            if value != plain
        ]
    if method.quantize and method.name in ("did", "said"):
        found += validate_installed(
            "bitsandbytes", "quantize", f"method.quantize={method.quantize}"
        )
        able = matrices and config.projection.basis != "svd"
        if method.space == "all" and not able:
            found.append(
                f"method.quantize={method.quantize}: expected projection=kronecker with "
                "basis=random, or another method.space, since such weights cannot be written"
            )
    return found


def validate_adapter(config: Config) -> list[str]:
    """Return what is wrong with a method of PEFT, as far as PEFT itself need not be asked."""
    if config.method.name != "peft":
        return []
    found, peft = [], config.method.peft
    if peft.type is None:
        found.append("method.peft.type: has no value; expected a type of PEFT's, such as LORA")
    if peft.knob in peft.options:
        found.append(f"method.peft.options.{peft.knob}: d chooses it, since it is the knob")
    if config.trainer.grow_from is not None:
        found.append(f"trainer.grow_from={config.trainer.grow_from}: expected null with PEFT")
    return found + validate_installed("peft", "lora", f"method={config.method.label}")


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
    """Return what is wrong with a logger, without importing its package, which may be missing."""
    name, found = logger.name, []
    if name in ("tensorboard", "mlflow", "wandb"):
        found += validate_installed(name, name, f"logger={name}")
    if (name == "custom") == (logger.path is None):
        expected = "null" if logger.path else "the class of a Lightning logger, package.Class,"
        found.append(f"logger.path={logger.path}: expected {expected} with logger={name}")
    if name == "none" and logger.options:
        found.append(f"logger.options={logger.options}: logger=none takes none")
    return found + (validate_wandb(logger) if name == "wandb" else [])


def validate_wandb(logger: LoggerConfig) -> list[str]:
    """Return what is wrong with W&B's project, and with the keywords of wandb.init."""
    project, found = logger.project, []
    if not 1 <= len(project) <= _PROJECT or set(project) & set("/\\#?%:"):
        found.append(
            f"logger.project={project!r:.60}: expected 1 to {_PROJECT} characters other than "
            "/ \\ # ? % :; logger.options.entity names the entity"
        )
    for key, instead in _OURS.items():
        if key in logger.options:
            found.append(f"logger.options.{key}: {instead}")
    for key, value in logger.options.items():
        kind = list if key == "tags" else str
        if key in ("name", "group", "tags", "entity", "job_type") and not isinstance(value, kind):
            expected = "a list such as [one,two]" if key == "tags" else "text"
            found.append(f"logger.options.{key}={value}: expected {expected}")
    return found


def validate_slurm(launcher: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the values of hydra.launcher, those of hydra/launcher=slurm."""
    values = {key: value for key, value in launcher.items() if key != "_target_"}
    found = _added(values, SlurmConfig, "hydra.launcher.")
    return found + violations_of(SlurmConfig, values, "hydra.launcher.")


def _added(values: Mapping[str, Any], schema: Any, prefix: str) -> list[str]:
    """Return a message for each key, which only +KEY=VALUE adds, that a schema lacks."""
    known = [f"{prefix}{key}" for key in schema.__dataclass_fields__]
    added = [key for key in (f"{prefix}{name}" for name in values) if key not in known]
    return [f"{key}: no such key{suggestion(key, known)}" for key in added]


def validate_search(sweeper: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the values of hydra.sweeper, those of hydra/sweeper=d90."""
    given = {key: sweeper[key] for key in sweeper if key not in ("_target_", "params")}
    values = {key: sweeper[key] for key in SearchConfig.__dataclass_fields__}
    found = _added(given, SearchConfig, "hydra.sweeper.")
    found += violations_of(SearchConfig, values, "hydra.sweeper.")
    if not found and values["low"] >= values["high"]:
        low, high = values["low"], values["high"]
        found.append(f"hydra.sweeper.low={low}: expected less than high={high}")
    return found


def validate_out(out: Path) -> list[str]:
    """Return why no run can be kept below a folder; nothing is made."""
    # A run's own folder and its files come after it.
    longest = max(len(os.fsencode(part)) for part in out.parts)
    if longest > _NAME or len(os.fsencode(out)) > _PATH - 3 * _NAME:
        return [f"out={str(out)[:40]}...: too long a path for a file system"]
    there = next(one for one in (out, *out.parents) if os.path.exists(one))
    if not there.is_dir():
        return [f"out={out}: {there} is a file; expected a folder"]
    if not os.access(there, os.W_OK | os.X_OK):
        return [f"out={out}: {there} cannot be written"]
    disk = os.statvfs(there)
    if disk.f_blocks and not disk.f_bavail:
        return [f"out={out}: no space is left on its disk"]
    return []
