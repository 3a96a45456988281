"""What `said pretrain` is told: a typed schema, and all that is wrong with a command at once."""

from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from said_lightning.config.compose import key_mistakes, parse
from said_lightning.errors import UserError

# More is not to be had in any memory or time, and would overflow what counts it.
MOST = 10**9
POSITIVE = ("vocabulary", "layers", "width", "heads", "length", "batch_size", "lr", "save_every")


@dataclass
class PretrainConfig:
    """One run of pre-training: the text, the BERT's shape, the steps and what is kept of them.

    text: files, or folders with .txt files below them. steps: a checkpoint is kept after each, in
    `out`, and the last ends the run. length: tokens of a row. save_every: the state is saved after
    every so many steps.
    """

    text: list[str] = field(default_factory=list)
    out: str = "pretrained"
    steps: list[int] = field(default_factory=list)
    vocabulary: int = 8192
    layers: int = 4
    width: int = 256
    heads: int = 4
    length: int = 128
    batch_size: int = 32
    lr: float = 5e-4
    warmup: float = 0.06
    seed: int = 0
    save_every: int = 200


def read_settings(arguments: list[str], conf: Path) -> PretrainConfig:
    """Composes conf/pretrain.yaml with overrides as train.py takes them.

    Raises UserError with every mistake in them.
    """
    schema = OmegaConf.structured(PretrainConfig)
    overrides, mistakes = parse(arguments, partial(key_mistakes, schema=schema))
    lines = [override.input_line or "" for override in overrides]
    with initialize_config_dir(str(conf), version_base="1.3"):
        config: Any = OmegaConf.to_object(compose("pretrain", lines))
    if mistakes := mistakes + problems(config):
        raise UserError(*mistakes)
    settings: PretrainConfig = config
    return settings


def problems(config: PretrainConfig) -> list[str]:
    """Tells what is wrong with the values, and each text that is not there."""
    found = [
        f"{key}={getattr(config, key)}: expected more than 0, at most {MOST:,}"
        for key in POSITIVE
        if not 0 < getattr(config, key) <= MOST
    ]
    if config.heads > 0 and config.width % config.heads:
        found.append(f"width={config.width}: expected a multiple of heads={config.heads}")
    if config.length in (1, 2):
        found.append(f"length={config.length}: expected at least 3, for [CLS], a token and [SEP]")
    if not 0 <= config.seed < 2**63:
        found.append(f"seed={config.seed}: expected 0 to 2^63 - 1")
    if not 0 <= config.warmup <= 1:
        found.append(f"warmup={config.warmup}: expected a share of the steps, 0 to 1")
    steps = config.steps
    ascending = all(a < b for a, b in pairwise(steps))
    if not (steps and steps[0] >= 0 and ascending and 1 <= steps[-1] <= MOST):
        found.append(
            f"steps={steps}: expected steps from 0 on, ascending, the last from 1 to {MOST:,}"
        )
    for text in map(Path, config.text):
        if not text.exists():
            found.append(f"text={text}: no such file or folder")
        elif text.is_dir() and not any(text.rglob("*.txt")):
            found.append(f"text={text}: no .txt file below it")
    return found


ConfigStore.instance().store(name="pretrain_schema", node=PretrainConfig)
