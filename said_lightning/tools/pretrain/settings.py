"""The settings of `said pretrain`: a typed schema, and every mistake of a command at once."""

from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from pydantic import Field

from said_lightning.config.compose import conf_folder
from said_lightning.config.describe import keys_of
from said_lightning.config.manual import columns, explained
from said_lightning.config.overrides import parse, validate_key
from said_lightning.data.fields import Described, Natural, NotNegative, Share, violations
from said_lightning.errors import UserError

# More is not to be had in any memory or time, and would overflow what counts it.
MOST = 10**9
Size = Annotated[int, Field(ge=1, le=MOST)]
_USAGE = """\
said pretrain: train a small BERT by masked language modelling on your own text.

Example
  said pretrain text=[mine.txt] out=small layers=2
"""
_KEYS = "Keys: KEY=VALUE changes one"
Rate = Annotated[float, Field(gt=0, le=MOST, allow_inf_nan=False)]


@dataclass
class PretrainConfig(Described):
    """One run of pre-training: the text, the BERT's shape, the steps and what is kept of them."""

    text: list[str] = field(default_factory=list)
    """Text files in UTF-8, or folders with .txt files; none is the demo's BBC articles, 5 MB."""
    out: str = "pretrained"
    """The folder in which step-0, step-100 and so on land, for model=pretrained."""
    steps: list[int] = field(default_factory=list)
    """A checkpoint is kept after each of these steps, and the last ends the run."""
    vocabulary: Size = 8192
    """The number of tokens that there are."""
    layers: Size = 4
    """The layers of the BERT."""
    width: Size = 256
    """Numbers for each token, a multiple of `heads`."""
    heads: Size = 4
    """Heads of attention."""
    length: Size = 128
    """Tokens of a row."""
    batch_size: Size = 32
    """Rows of a step."""
    lr: Rate = 5e-4
    """AdamW's rate."""
    warmup: Share = 0.06
    """The share of the steps in which the rate rises; it falls linearly to 0 in the rest."""
    seed: Natural = 0
    """The seed of the weights, the order of the rows and what is masked."""
    save_every: NotNegative = 300.0
    """Seconds from one saved state to the next; one is saved with each checkpoint too."""


def manual() -> str:
    """Return the help of `said pretrain`."""
    return "\n".join([_USAGE, *explained(keys_of(PretrainConfig), columns(), {"": _KEYS})])


def read_settings(arguments: list[str]) -> PretrainConfig:
    """Compose conf/pretrain.yaml with overrides as train.py takes them.

    Raise UserError with every mistake in them.
    """
    schema = OmegaConf.structured(PretrainConfig)
    overrides, found = parse(arguments, partial(validate_key, schema=schema))
    lines = [override.input_line or "" for override in overrides]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config: Any = OmegaConf.to_object(compose("pretrain", lines))
    if found := found + validate_settings(config):
        raise UserError(*found)
    settings: PretrainConfig = config
    return settings


def validate_settings(config: PretrainConfig) -> list[str]:
    """Return what is wrong with the values, and each text that is not there."""
    found = violations(config)
    if config.heads > 0 and config.width % config.heads:
        found.append(f"width={config.width}: expected a multiple of heads={config.heads}")
    if config.length in (1, 2):
        found.append(f"length={config.length}: expected at least 3, for [CLS], a token and [SEP]")
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
