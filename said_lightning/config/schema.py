"""The configuration as typed schemas, and what is derived from it: problems, folder, hash."""

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from said_lightning.data.task import TaskConfig, suggestion
from said_lightning.data.validate import task_errors
from said_lightning.runs.labels import model_label, projection_label, rate_label


@dataclass
class ModelConfig:
    """An encoder: a hub id, a local folder, or `package:NAME/FOLDER` inside a pip package.

    layers: keeps the first so many, null is all. A family's yaml puts its `size`, or its `step` of
    pre-training and `run`, into the path, and lists what there is in `sizes`, `steps`, `runs`.
    """

    name: str = MISSING
    path: str = MISSING
    revision: str | None = None
    layers: int | None = None
    size: str | None = None
    sizes: list[str] = field(default_factory=list)
    step: str | None = None
    steps: list[str] = field(default_factory=list)
    run: str | None = None
    runs: list[str] = field(default_factory=list)


@dataclass
class MethodConfig:
    """How to train: full fine-tuning, or a subspace without (did) or with (said) lambda.

    groups: what shares a lambda, `layer` or `tensor`. head: `inside` the subspace or `outside`.
    origin: `copy` keeps theta_0 and writes exactly, `none` saves its D numbers and drifts. space:
    what the subspace lies in, `all` weights, or the head with `lora` factors of rank r on queries
    and values, with every `bias`, or alone (`head`); full fine-tuning always trains all.
    """

    name: str = MISSING
    groups: str = "layer"
    head: str = "inside"
    origin: str = "copy"
    space: str = "all"
    r: int = 8


@dataclass
class TrainerConfig:
    """Everything about the optimisation but d, seed and lr.

    full_lr: the rate of full fine-tuning (AdamW). step_ratio: see subspace/lr_rule.py. warmup: the
    share of the steps in which the rate rises; it falls to 0 in the rest. clip: norm of the
    gradient, of theta's in a subspace; 0 is none. batch_size: rows of a step on each of the
    devices, which share each batch; a step has accumulate times as many. save_every: a subspace
    run's state is saved after every so many steps (full fine-tuning's after each epoch). stop_at:
    the run ends after the first epoch whose metric reaches it; null is never. grow_from: d in the
    first epoch, from where it grows to d in the last (training/growing.py); null is all d at once.
    """

    epochs: int = 3
    batch_size: int = 32
    eval_batch_size: int = 128
    full_lr: float = 5e-5
    step_ratio: float = 13.0
    weight_decay: float = 0.0
    warmup: float = 0.06
    clip: float = 1.0
    accumulate: int = 1
    precision: str = "32-true"
    devices: int = 1
    workers: int = 0
    save_every: int = 1
    stop_at: float | None = None
    grow_from: int | None = None


@dataclass
class LoggerConfig:
    """Where curves go besides the run's folder: `none`, `csv`, or `wandb`, offline by default."""

    name: str = MISSING
    project: str = "said_lightning"
    mode: str = "offline"


@dataclass
class Config:
    """One run. d counts all trained numbers, lambda inside; lr null follows the rule.

    timeout: seconds after which a run is taken to hang. on_error: whether a sweep goes on after a
    run that failed, `continue` or `stop`.

    projection: the `name` of the random map from theta to the weights, and its own options.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    projection: dict[str, Any] = field(default_factory=lambda: {"name": MISSING})
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    d: int = 1000
    seed: int = 0
    lr: float | None = None
    out: str = "multirun_outputs"
    timeout: float | None = None
    on_error: str = "continue"

    @property
    def every_d(self) -> list[int]:
        """The d of the run; of one that grows, the first and the last."""
        first = self.trainer.grow_from
        return [self.d] if first is None else [first, self.d]


CHOICES = {
    "method.name": ("full", "did", "said"),
    "method.groups": ("layer", "tensor"),
    "method.head": ("inside", "outside"),
    "method.origin": ("copy", "none"),
    "method.space": ("all", "lora", "bias", "head"),
    "projection.gradient": ("exact", "released"),
    "logger.name": ("none", "csv", "wandb"),
    "logger.mode": ("offline", "online"),
    "on_error": ("continue", "stop"),
    "trainer.precision": ("32-true", "bf16-mixed", "16-mixed", "bf16-true"),
}
# What leaves theta as it is: where things lie, what is logged, who reads ahead.
NO_EFFECT = (
    *("out", "logger", "trainer.workers", "trainer.save_every"),
    *("model.sizes", "model.steps", "model.runs", "timeout", "on_error"),
)
# What full fine-tuning does not read: one baseline serves every method and d.
NOT_FOR_FULL = (
    *("d", "projection", "method.groups", "method.head", "method.origin"),
    "trainer.grow_from",
    *("method.space", "method.r"),
)
POSITIVE = (
    *("epochs", "batch_size", "eval_batch_size", "full_lr", "step_ratio", "accumulate"),
    *("devices", "save_every"),
)
NOT_NEGATIVE = ("weight_decay", "clip", "workers")


def config_hash(cfg: DictConfig) -> str:
    """Gives 8 hex digits that differ where two runs' results may differ."""
    return hashlib.sha256(json.dumps(decisive(cfg), sort_keys=True).encode()).hexdigest()[:8]


def decisive(cfg: DictConfig) -> dict[str, Any]:
    """Gives the part of a config that a run's result depends on, resolved."""
    # Not the whole config at once: Hydra's own part names the folder that this hash is to name.
    nodes = {name: cfg[name] for name in Config.__dataclass_fields__}
    plain: Any = OmegaConf.to_container(OmegaConf.create(nodes), resolve=True)
    full = plain["method"]["name"] == "full"
    forget_unread(plain, full)
    for path in (*NO_EFFECT, *(NOT_FOR_FULL if full else ())):
        *parents, last = path.split(".")
        node = plain
        for parent in parents:
            node = node[parent]
        node.pop(last, None)
    # Of data that the hub does not name, the folder does.
    if plain["task"]["hub"] or plain["task"]["data_dir"] is None:
        del plain["task"]["data_dir"]
    # A run to the end, in one d, in the space of all weights, keeps the name it always had.
    for key in ("stop_at", "grow_from"):
        if plain["trainer"].get(key) is None:
            plain["trainer"].pop(key, None)
    space = plain["method"].get("space")
    if space == "all":
        del plain["method"]["space"]
    if space != "lora":
        plain["method"].pop("r", None)
    return plain


def forget_unread(plain: dict[str, Any], full: bool) -> None:
    """Sets to their defaults, in place, the values that a run does not read since others decide."""
    trainer, method = plain["trainer"], plain["method"]
    given = plain["lr"] is not None and (full or method["head"] == "inside")
    if full or given:
        trainer["step_ratio"] = TrainerConfig.step_ratio
    if given:
        trainer["full_lr"] = TrainerConfig.full_lr
    if method["name"] == "did":
        method["groups"] = MethodConfig.groups


def run_folder(cfg: DictConfig) -> str:
    """Names a run's folder below `out`: the same config, the same folder."""
    method = cfg.method.name
    if method != "full":
        space = "" if cfg.method.space == "all" else f"-{cfg.method.space}"
        label = projection_label(cfg.projection, cfg.trainer)
        method = f"{method}-{label}{space}-d{cfg.d}"
    return f"{model_label(cfg.model)}/{cfg.task.name}/{method}-seed{cfg.seed}-{config_hash(cfg)}"


def folder_of(cfg: DictConfig) -> Path:
    """Gives a run's folder."""
    return Path(cfg.out) / run_folder(cfg)


def identity(cfg: DictConfig) -> dict[str, Any]:
    """Gives what a config tells of its run's record."""
    full = cfg.method.name == "full"
    return {
        "model": model_label(cfg.model),
        "task": cfg.task.name,
        "method": cfg.method.name,
        "projection": None if full else projection_label(cfg.projection, cfg.trainer),
        "space": "all" if full else cfg.method.space,
        "step": cfg.model.step,
        "d": None if full else cfg.d,
        "seed": cfg.seed,
        **rate_label(cfg.lr, cfg.method.name, cfg.trainer),
        "config_hash": config_hash(cfg),
    }


def typed(cfg: DictConfig) -> Config:
    """Gives a composed config as plain objects."""
    plain: Config = OmegaConf.to_object(cfg)  # type: ignore[assignment]
    return plain


def choice_problems(cfg: DictConfig) -> list[str]:
    """Tells which keys have a value that is none of their choices."""
    found = []
    for key, choices in CHOICES.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and value not in choices:
            found.append(f"{key}={value}: unknown value{suggestion(str(value), choices)}")
    return found


def problems(cfg: DictConfig) -> list[str]:
    """Tells all that is wrong with a composed config, without torch and without the network."""
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        return [f"{key}: has no value" for key in missing]
    found = choice_problems(cfg)
    for key in ("size", "step", "run"):
        value, members = cfg.model[key], cfg.model[f"{key}s"]
        if value not in (members or [None]):
            near = suggestion(str(value), members) or f"; {cfg.model.name} has no {key}s"
            found.append(f"model.{key}={value}: not one of the family{near}")
    if cfg.model.layers is not None and cfg.model.layers < 1:
        found.append(f"model.layers={cfg.model.layers}: expected at least 1, or null for all")
    trainer = cfg.trainer
    for key in POSITIVE:
        if trainer[key] <= 0:
            found.append(f"trainer.{key}={trainer[key]}: expected more than 0")
    for key in NOT_NEGATIVE:
        if trainer[key] < 0:
            found.append(f"trainer.{key}={trainer[key]}: expected 0 or more")
    if not 0 <= trainer.warmup <= 1:
        found.append(f"trainer.warmup={trainer.warmup}: expected a share of the steps, 0 to 1")
    found += method_problems(cfg)
    if cfg.d < 1 and cfg.method.name != "full":
        found.append(f"d={cfg.d}: expected at least 1")
    if trainer.grow_from is not None and not 1 <= trainer.grow_from < cfg.d:
        found.append(f"trainer.grow_from={trainer.grow_from}: expected 1 to less than d={cfg.d}")
    if cfg.seed < 0:
        found.append(f"seed={cfg.seed}: expected 0 or more")
    if cfg.timeout is not None and cfg.timeout <= 0:
        found.append(f"timeout={cfg.timeout}: expected seconds, more than 0, or null for no limit")
    if cfg.lr is not None and not 0 < cfg.lr < math.inf:
        found.append(f"lr={cfg.lr}: expected more than 0, or null for the rule")
    return found + task_errors(typed(cfg).task)


def method_problems(cfg: DictConfig) -> list[str]:
    """Tells what is wrong with how a subspace is laid into the weights."""
    found = []
    if (cfg.trainer.precision, cfg.method.origin) == ("bf16-true", "none"):
        found.append(
            "trainer.precision=bf16-true: expected method.origin=copy, since bfloat16 weights "
            "would lose the differences that are added to them"
        )
    if cfg.method.r < 1:
        found.append(f"method.r={cfg.method.r}: expected at least 1")
    if (cfg.method.space, cfg.method.head) == ("head", "outside"):
        found.append("method.head=outside: expected inside, since method.space=head is the head")
    return found


# On import, since a launcher's worker imports this module and calls nothing before it composes.
ConfigStore.instance().store(name="schema", node=Config)
OmegaConf.register_new_resolver("run_folder", lambda _root_: run_folder(_root_), replace=True)
