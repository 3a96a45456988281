"""The artifact that a certificate is about: the message's arrays, and what they are numbers of."""

import json
from typing import Any

from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError
from safetensors.numpy import load, save

from said_lightning.coding import Coded
from said_lightning.errors import UserError
from said_lightning.kept import with_schema
from said_lightning.runs.checkpoint import metadata

KEY = "said_lightning"
FORMAT = 1
# What decides what the numbers mean, and on which rows they are judged.
PARTS = ("model", "task", "method", "projection", "d", "seed")


def pack(cfg: DictConfig, coded: Coded) -> bytes:
    """Gives the artifact of a quantised run as one safetensors file; no path to data is in it."""
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    config["task"]["data_dir"] = None
    told = {"format": FORMAT, "length": coded.length, "config": {key: config[key] for key in PARTS}}
    arrays = {"codebook": coded.codebook, "counts": coded.counts, "words": coded.words}
    return save(arrays, {KEY: json.dumps(told)})


def unpack(content: bytes) -> tuple[DictConfig, Coded]:
    """Gives the config and the message of an artifact; raises UserError where it is none."""
    try:
        arrays = load(content)
        told = json.loads(metadata(content)[KEY])
        if told["format"] > FORMAT:
            raise UserError(
                f"artifact: format {told['format']}; this said_lightning reads {FORMAT}"
            )
        coded = Coded(**arrays, length=told["length"])
        return with_schema(told["config"] | {"logger": {"name": "none"}}), coded
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"artifact: not one of a quantised run: {error}") from None
