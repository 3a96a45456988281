"""The file: theta and lambda as one vector of d numbers, and what is needed to use them.

It is a safetensors file. Its tensors are `theta` and `scale`, or `codebook`, `counts` and `words`
of the two quantised together, and `head.*` of a head outside the subspace. Its metadata hold the
header as JSON, and a checksum of the whole. A file may come from anybody: nothing in it is code,
and its header is checked before it is believed.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from said_lightning.artifact.coding import Coded, decode
from said_lightning.artifact.header import FORMAT, About
from said_lightning.artifact.validate import validate_header, validate_tensors
from said_lightning.errors import UserError
from said_lightning.runs import checkpoint
from said_lightning.runs.files import open_whole, write_whole

KEY = "said_lightning"
FILE = "said.safetensors"  # in a run's folder, and on the hub
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# A file's header, and a whole file; d numbers and a large head take a few megabytes.
LARGEST_HEADER, LARGEST = 2**20, 2**30

Values = Float32[np.ndarray, " d"]


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
        """Return the d numbers, theta and then lambda, as they are read from the file."""
        if isinstance(self.numbers, Coded):
            return decode(self.numbers)
        theta, scale = np.split(self.numbers, [len(self.numbers) - self.about.m])
        rounded = torch.from_numpy(theta.copy()).to(DTYPES[self.dtype]).float().numpy()
        return np.concatenate([rounded, scale])

    def scored(self, value: float | None) -> "Artifact":
        """Return the same with a metric of its very numbers, None where it is not known."""
        metric = replace(self.about.metric, value=value)
        return replace(self, about=replace(self.about, metric=metric))


def pack(artifact: Artifact) -> bytes:
    """Return the content of an artifact's file."""
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
    """Write an artifact's file whole or not at all; raise UserError where it cannot be."""
    try:
        write_whole(path, pack(artifact))
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def read(path: Path) -> Artifact:
    """Read an artifact's file.

    Raises:
        UserError: it cannot be read, is none, is broken, has a header that cannot be, or is of a
            newer format; every reason that is known.
    """
    try:
        with open_whole(path, LARGEST) as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if length > LARGEST_HEADER:
                raise UserError(f"{path}: no artifact: its header would have {length:,} bytes")
            content = start + file.read()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return parse(content)
    except UserError as error:
        raise UserError(*(f"{path}: {message}" for message in error.messages)) from None


def parse(content: bytes) -> Artifact:
    """Return the artifact in a file's content; raise UserError as `read` does."""
    length = int.from_bytes(content[:8], "little")
    try:
        header = from_json(content[8 : 8 + length], allow_inf_nan=False)
        plain = from_json(header["__metadata__"][KEY], allow_inf_nan=False)
        newest = plain["format"]
    except (KeyError, TypeError, ValueError):
        raise UserError("no artifact of said_lightning, or cut off") from None
    if isinstance(newest, int) and newest > FORMAT:
        raise UserError(f"format {newest} comes from a newer said_lightning; this reads {FORMAT}")
    if not checkpoint.intact(content):
        raise UserError("broken: its checksum is wrong")
    about = _about(plain)
    if found := validate_tensors(header, about.run.d, about.m):
        raise UserError(*found)
    try:
        tensors = safetensors.load(content)
    except SafetensorError as error:
        raise UserError(f"no safetensors file: {error}") from None
    if wrong := [name for name, part in tensors.items() if not part.double().isfinite().all()]:
        raise UserError(*(f"{name}: a number is not finite" for name in wrong))
    return _artifact(about, tensors)


def _about(plain: Any) -> About:
    try:
        about = TypeAdapter(About).validate_json(to_json(plain), strict=True)
    except ValidationError as error:
        wrong = (".".join(map(str, one["loc"])) + f": {one['msg']}" for one in error.errors())
        raise UserError(*wrong) from None
    if found := validate_header(about):
        raise UserError(*found)
    return about


def _artifact(about: About, tensors: dict[str, Tensor]) -> Artifact:
    """Make an artifact of a file's tensors, which were checked."""
    head = {name[5:]: part.float() for name, part in tensors.items() if name.startswith("head.")}
    if "words" in tensors:
        codebook, counts, words = (tensors[n].numpy() for n in ("codebook", "counts", "words"))
        coded = Coded(codebook, counts, words, about.run.d)
        decode(coded)  # a message that nobody wrote is refused here
        return Artifact(about, coded, head)
    theta, scale = tensors["theta"], tensors["scale"]
    dtype: Any = str(theta.dtype).removeprefix("torch.")
    return Artifact(about, torch.cat([theta.float(), scale]).numpy(), head, dtype)
