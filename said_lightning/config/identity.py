"""What identifies a run: its config, hash, folder and labels, computed once and handed on."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from said_lightning.config.schema import Config, MethodConfig, TrainerConfig
from said_lightning.runs.labels import model_label, projection_label, space_label

# What leaves theta as it is: where things lie, what is logged, who reads ahead.
NO_EFFECT = (
    *("out", "logger", "trainer.workers", "trainer.save_every"),
    *("model.sizes", "model.steps", "model.runs", "timeout", "on_error"),
    "trainer.activation_checkpointing",
)
# What full fine-tuning does not read: one baseline serves every method and d.
NOT_FOR_FULL = (
    *("d", "projection", "method.groups", "method.head", "method.origin"),
    "trainer.grow_from",
    *("method.space", "method.r", "method.quantize"),
)
# What a method of PEFT does not read; its d is the count of what it trains.
NOT_FOR_PEFT = (
    *(key for key in NOT_FOR_FULL if key != "d"),
    *("method.peft.lr", "method.peft.lr_at"),  # from which the rate is made
)
UNREAD = {"full": (*NOT_FOR_FULL, "method.peft"), "peft": NOT_FOR_PEFT}
# What a task of each kind does not read.
_WRITTEN, _ANSWERED = ("match", "max_new_tokens"), ("template", "answers")
UNASKED = {
    **dict.fromkeys(("classification", "regression"), (*_ANSWERED, *_WRITTEN)),
    **{"prompt": _WRITTEN, "generate": ("answers",)},
}
# What runs that are compared may differ in, or what their records keep apart.
COMPARABLE = {
    "trainer": ("epochs", "step_ratio", "lambda_lr", "full_lr", "stop_at", "grow_from"),
    "model": ("path", "revision"),
    "task": ("data_dir",),
}
# What a planned run's record holds, so that its spec can be read back.
LABELS = (
    *("model", "task", "method", "projection", "space", "step", "d", "seed", "lr", "rule"),
    *("lambda_lr", "protocol", "config_hash", "setting_hash", "method_hash"),
)


@dataclass(frozen=True)
class RunSpec:
    """One run: its config, and what identifies it.

    name: the run's folder below `out`. labels: what the run's record says before it has begun, with
    hashes: config_hash differs where two runs' results may differ, setting_hash where two runs of a
    series, or its baseline, do not compare, and method_hash between two series of a method of PEFT.
    cwd: the folder in which the command was given, which relative paths in the config mean.
    """

    config: Config
    name: str
    labels: Mapping[str, Any]
    cwd: Path

    @classmethod
    def of(cls, config: Config, cwd: Path | None = None) -> "RunSpec":
        """Return the spec of a config; this is the one place where a run is hashed and named."""
        plain = decisive(config)
        hashes: dict[str, str | None] = {"config_hash": digest(plain), "method_hash": None}
        hashes["setting_hash"] = digest(comparable(plain))
        if config.method.name == "peft":
            hashes["method_hash"] = digest(plain["method"])
        labels = labels_of(config) | hashes
        place = f"{labels['model']}/{labels['task']}"
        name = f"{place}/{run_label(config)}-seed{config.seed}-{hashes['config_hash']}"
        return cls(config, name, labels, cwd or Path.cwd())

    @property
    def folder(self) -> Path:
        """The run's folder, absolute."""
        return self.out / self.name

    @property
    def place(self) -> Path:
        """The run's folder as the command names it."""
        return Path(self.config.out) / self.name

    @property
    def out(self) -> Path:
        """The folder below which the sweep's runs lie, absolute."""
        return absolute(self.config.out, self.cwd)

    def located(self) -> Config:
        """Return the config with absolute paths, for a process that works in another folder."""
        model, task = self.config.model, self.config.task
        if (path := absolute(model.path, self.cwd)).is_dir():
            model = replace(model, path=str(path))
        if task.data_dir is not None:
            task = replace(task, data_dir=str(absolute(task.data_dir, self.cwd)))
        return replace(self.config, model=model, task=task, out=str(self.out))


def absolute(path: str, cwd: Path) -> Path:
    """Return a path of a config as the folder means it in which the command was given."""
    return Path(os.path.abspath(cwd / os.path.expanduser(path)))


def digest(plain: Mapping[str, Any]) -> str:
    """Return 8 hex digits of plain values."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]


def decisive(config: Config) -> dict[str, Any]:
    """Return the part of a config that a run's result depends on, as plain values."""
    plain = asdict(config)
    name = plain["method"]["name"]
    subspace = name not in ("full", "peft")
    plain["lr"] = config.given_lr
    _forget_unread(plain, subspace)
    for path in (*NO_EFFECT, *UNREAD.get(name, ("method.peft",))):
        *parents, last = path.split(".")
        node = plain
        for parent in parents:
            node = node[parent]
        node.pop(last, None)
    if subspace:
        plain["projection"] = {"name": config.projection.name, **config.projection.options}
        plain["projection"].pop("keep", None)
    # Of data that the hub does not name, the folder does.
    if plain["task"]["hub"] or plain["task"]["data_dir"] is None:
        del plain["task"]["data_dir"]
    # Data with a dev set, in columns as their format has them, have no part of these names.
    files = [plain["task"][key] or {} for key in ("files", "eval_files")]
    for node, key in ((plain["task"], "split"), *((one, "separator") for one in files)):
        if node.get(key) is None:
            node.pop(key, None)
    # A run to the end, in one d, in the space of all weights, with a new head, has no part of these
    # names.
    for key in ("stop_at", "grow_from"):
        if plain["trainer"].get(key) is None:
            plain["trainer"].pop(key, None)
    for key in UNASKED.get(plain["task"]["kind"], ()):
        plain["task"].pop(key, None)
    if plain["model"]["head"] == "new":
        del plain["model"]["head"]
    if plain["method"].get("quantize") is None:
        plain["method"].pop("quantize", None)
    space = plain["method"].get("space")
    if space == "all":
        del plain["method"]["space"]
    if space != "lora":
        plain["method"].pop("r", None)
    return plain


def comparable(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a decisive config in which a series and its baseline must agree.

    Left out is what is the series' own or tried within it; other data, weights and epochs are kept
    apart by the record itself.
    """
    found = dict(plain)
    for key in ("d", "seed", "lr", "method", "projection"):
        found.pop(key, None)
    for part, keys in COMPARABLE.items():
        found[part] = {key: value for key, value in found[part].items() if key not in keys}
    return found


def run_label(config: Config) -> str:
    """Return the part of a run's name that says how it trains, and in how many numbers."""
    method = config.method
    if method.name == "full":
        return "full"
    if method.name == "peft":
        return f"{method.label}-d{config.d}"
    space = space_label(vars(method))
    space = "" if space == "all" else f"-{space}"
    label = projection_label(asdict(config.projection), vars(config.trainer))
    return f"{method.name}-{label}{space}-d{config.d}"


def labels_of(config: Config) -> dict[str, Any]:
    """Return what a run's record says of its config."""
    subspace = config.method.name not in ("full", "peft")
    trainer = vars(config.trainer)
    return {
        "model": model_label(vars(config.model)),
        "task": config.task.name,
        "method": config.method.label,
        "projection": projection_label(asdict(config.projection), trainer) if subspace else None,
        "space": space_label(vars(config.method)) if subspace else "all",
        "step": config.model.step,
        "d": None if config.method.name == "full" else config.d,
        "seed": config.seed,
        "protocol": config.protocol,
        "lambda_lr": config.trainer.lambda_lr if config.method.name == "said" else None,
        "lr": None if config.rule else config.given_lr or config.trainer.full_lr,
        "rule": config.rule,
    }


def _forget_unread(plain: dict[str, Any], subspace: bool) -> None:
    """Set to their defaults, in place, the values that a run does not read since others decide."""
    trainer, method = plain["trainer"], plain["method"]
    given = plain["lr"] is not None and not (subspace and method["head"] == "outside")
    if given or not subspace:
        trainer["step_ratio"] = TrainerConfig.step_ratio
    if method["name"] != "said":
        trainer["lambda_lr"] = TrainerConfig.lambda_lr
    if given:
        trainer["full_lr"] = TrainerConfig.full_lr
    if method["name"] == "did":
        method["groups"] = MethodConfig.groups
