"""The header of an artifact's file: what its numbers mean, and the model that they belong to."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

from said_lightning.config.identity import UNASKED
from said_lightning.config.schema import Config
from said_lightning.config.stored import typed
from said_lightning.data.answering import MATCHES
from said_lightning.runs.record import Finite

FORMAT = 1
# What encoder, subspace and model card need of a run's task and model.
OF_TASK = (
    *("name", "kind", "labels", "score_range", "metric", "metrics", "max_length"),
    *("template", "answers", "match", "max_new_tokens"),
)
OF_MODEL = ("name", "path", "revision", "layers", "head")

Hex = Annotated[str, Field(pattern="^[0-9a-f]{16,64}$")]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A metric on the report rows, of exactly the numbers in the file; epochs count from 1."""

    name: str
    value: Finite | None
    epoch: int


@dataclass(frozen=True, kw_only=True)
class About:
    """A file's header: `config` is the part of the run's that encoder and subspace depend on.

    `m` counts lambda among the d numbers. `groups` hashes the groups' names and sizes,
    `fingerprint` identifies P and `model_sha256` the base model's weights.
    """

    config: dict[str, Any]
    m: int
    groups: Hex
    fingerprint: Hex
    model_sha256: Hex
    metric: Score
    version: str
    format: int = FORMAT

    @cached_property
    def run(self) -> Config:
        """The config with the defaults of the keys that the file lacks.

        Raises OmegaConfBaseException for a key that Config lacks, a value of another type, and an
        interpolation.
        """
        return typed({**self.config, "logger": {"name": "none"}})


def carried(config: Config) -> dict[str, Any]:
    """Return the part of a run's config that a file carries, as plain values.

    A default that is no value is left out; every other is written, since it may change in a later
    version.
    """
    plain = asdict(config)
    parts = {
        "model": {key: plain["model"][key] for key in OF_MODEL},
        "task": {key: plain["task"][key] for key in OF_TASK},
        "method": plain["method"],
        "projection": plain["projection"],
    }
    unread = {*UNASKED[config.task.kind], "peft"}  # no artifact is of PEFT's
    if config.task.match not in MATCHES:
        unread.add("match")  # a file names no code that a reader would run
    written = {
        part: {k: v for k, v in values.items() if v not in (None, []) and k not in unread}
        for part, values in parts.items()
    }
    return written | {"d": config.d, "seed": config.seed}


def groups_digest(sizes: Mapping[str, int]) -> str:
    """Hash the groups of tensors: their names, numbers of weights, and order."""
    return hashlib.blake2b(json.dumps(list(sizes.items())).encode(), digest_size=8).hexdigest()
