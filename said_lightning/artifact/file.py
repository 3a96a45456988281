"""The file: theta and lambda as one vector of d numbers, and what is needed to use them.

It is a safetensors file. Its tensors are `theta` and `scale`, or `codebook`, `counts` and `words`
of the two quantised together, and `head.*` of a head outside the subspace. Its metadata hold the
header as JSON, and a checksum of the whole. A file may come from anybody: nothing in it is code,
and what it claims is checked before it is believed.
"""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from said_lightning.artifact.claims import claims, complete, interpolations, tensor_problems
from said_lightning.artifact.coding import Coded, decode
from said_lightning.config.schema import Config, typed
from said_lightning.errors import UserError
from said_lightning.runs import checkpoint
from said_lightning.runs.files import write_whole
from said_lightning.runs.record import Finite

FORMAT = 1
KEY = "said_lightning"
FILE = "said.safetensors"  # in a run's folder, and on the hub
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# A file's header, and a whole file; d numbers and a large head take a few megabytes.
LARGEST_HEADER, LARGEST = 2**20, 2**30

Hex = Annotated[str, Field(pattern="^[0-9a-f]{16,64}$")]
Values = Float32[np.ndarray, " d"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A metric on the evaluation split, of exactly the numbers in the file; epochs count from 1."""

    name: str
    value: Finite | None
    epoch: int


@dataclass(frozen=True, kw_only=True)
class About:
    """A file's header: `config` is the part of the run's that encoder and subspace depend on.

    `m` counts lambda among the d numbers. `groups` hashes the groups' names and sizes,
    `fingerprint` tells P and `model_sha256` the base model's weights.
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
    def whole(self) -> DictConfig:
        """The config with the types of Config, and its defaults where the file lacks a key."""
        return complete(self.config)

    @cached_property
    def run(self) -> Config:
        """The config as plain objects."""
        return typed(self.whole)


@dataclass(frozen=True)
class Artifact:
    """A fine-tuned model: `numbers` are theta, then lambda, as they are or quantised.

    `dtype` is how theta and a head outside are written where they are not quantised.
    """

    about: About
    numbers: Values | Coded
    head: dict[str, Float[Tensor, "..."]] = field(default_factory=dict)
    dtype: Literal["float32", "bfloat16"] = "float32"

    def values(self) -> Values:
        """Gives the d numbers, theta and then lambda, as they are read from the file."""
        if isinstance(self.numbers, Coded):
            return decode(self.numbers)
        theta, scale = np.split(self.numbers, [len(self.numbers) - self.about.m])
        rounded = torch.from_numpy(theta.copy()).to(DTYPES[self.dtype]).float().numpy()
        return np.concatenate([rounded, scale])


def pack(artifact: Artifact) -> bytes:
    """Gives the content of an artifact's file."""
    dtype = DTYPES[artifact.dtype]
    if isinstance(numbers := artifact.numbers, Coded):
        coded = {name: getattr(numbers, name) for name in ("codebook", "counts", "words")}
        tensors = {name: torch.from_numpy(part.copy()) for name, part in coded.items()}
    else:
        theta, scale = np.split(numbers, [len(numbers) - artifact.about.m])
        tensors = {"theta": torch.tensor(theta, dtype=dtype), "scale": torch.tensor(scale)}
    head = {f"head.{name}": weight.to(dtype) for name, weight in artifact.head.items()}
    # One entry: safetensors writes several in any order, and the same run gives the same bytes.
    about = to_json({checkpoint.KEY: checkpoint.UNSEALED, **asdict(artifact.about)}).decode()
    return b"".join(checkpoint.sealed(safetensors.save({**tensors, **head}, {KEY: about})))


def write(artifact: Artifact, path: Path) -> None:
    """Writes an artifact's file whole or not at all; raises UserError where it cannot be."""
    try:
        write_whole(path, pack(artifact))
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def read(path: Path) -> Artifact:
    """Reads an artifact's file.

    Raises:
        UserError: it cannot be read, is none, is broken, claims what cannot be, or is of a newer
            format; every reason that is known.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if length > LARGEST_HEADER or path.stat().st_size > LARGEST:
                raise UserError(f"{path}: no artifact: its header would have {length:,} bytes")
            content = start + file.read()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return parse(content)
    except UserError as error:
        raise UserError(*(f"{path}: {message}" for message in error.messages)) from None


def parse(content: bytes) -> Artifact:
    """Gives the artifact in a file's content; raises UserError as `read` does."""
    length = int.from_bytes(content[:8], "little")
    try:
        header = from_json(content[8 : 8 + length], allow_inf_nan=False)
        told = from_json(header["__metadata__"][KEY], allow_inf_nan=False)
        newest = told["format"]
    except (KeyError, TypeError, ValueError):
        raise UserError("no artifact of said_lightning, or cut off") from None
    if isinstance(newest, int) and newest > FORMAT:
        raise UserError(f"format {newest} comes from a newer said_lightning; this reads {FORMAT}")
    if not checkpoint.intact(content):
        raise UserError("broken: its checksum is wrong")
    about = _about(told)
    if problems := tensor_problems(header, about.run.d, about.m):
        raise UserError(*problems)
    try:
        tensors = safetensors.load(content)
    except SafetensorError as error:
        raise UserError(f"no safetensors file: {error}") from None
    if wrong := [name for name, part in tensors.items() if not part.double().isfinite().all()]:
        raise UserError(*(f"{name}: a number is not finite" for name in wrong))
    return _artifact(about, tensors)


def _about(told: Any) -> About:
    try:
        about = TypeAdapter(About).validate_json(to_json(told), strict=True)
    except ValidationError as error:
        wrong = (".".join(map(str, one["loc"])) + f": {one['msg']}" for one in error.errors())
        raise UserError(*wrong) from None
    try:
        problems = interpolations(about.config) or claims(about.whole, about.m)
    except OmegaConfBaseException as error:
        problems = [f"config: {str(error).splitlines()[0]}"]
    if problems:
        raise UserError(*problems)
    return about


def _artifact(about: About, tensors: dict[str, Tensor]) -> Artifact:
    """Makes an artifact of a file's tensors, which have been checked."""
    head = {name[5:]: part.float() for name, part in tensors.items() if name.startswith("head.")}
    if "words" in tensors:
        codebook, counts, words = (tensors[n].numpy() for n in ("codebook", "counts", "words"))
        coded = Coded(codebook, counts, words, about.run.d)
        decode(coded)  # a message that nobody wrote is refused here
        return Artifact(about, coded, head)
    theta, scale = tensors["theta"], tensors["scale"]
    dtype: Any = str(theta.dtype).removeprefix("torch.")
    return Artifact(about, torch.cat([theta.float(), scale]).numpy(), head, dtype)
