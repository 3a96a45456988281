"""The contract of a projection, and what every projection shares."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from said_lightning.projections.core import random
from said_lightning.projections.core.engine import ENGINES, exact, find_engine, ready, widest

# The number of elements of each tensor, or its shape, where a projection makes use of that.
Sizes = Mapping[str, int] | Mapping[str, Sequence[int]]
STAGED = 2**20  # rows that an engine gets at a time where they have to be copied for it


class Projection(ABC):
    """A fixed random linear map P from R^d to R^D, given tensor by tensor and never stored.

    P is isometric in expectation over all D rows: E|P theta|^2 = |theta|^2. The rows of a tensor
    depend on its name, its size, d and the seed; other tensors change only their common factor
    1/sqrt(D). `project` and `pull_back` are exact transposes of each other.

    A subclass gives `forward_rows`, `backward_rows` and `draws` for a range of rows, in plain
    torch: the specification. A module `engines/<name>_<engine>.py`, where there is one, does the
    same faster: `write(projection, out, base, theta, tensor, start)` sets rows from `start` on,
    `pull_back(projection, grad, tensor, start)` gives their P^T grad in float64; or, for many
    tensors at once, `write_all(projection, [(tensor, out, base), ...], groups, thetas, start)` and
    `pull_back_all(projection, [(tensor, grad), ...], groups, sums, start)`. All it gets is
    contiguous and of one dtype, float32 or float64, unless the module says MIXED.

    All methods raise ValueError where a size is wrong.
    """

    grain: int = 8  # ranges of rows start at its multiples
    chunk: int = 2**16  # rows the reference works on at a time, a multiple of grain
    engine: str | None = None  # None picks by device, "torch" keeps to the reference
    gain: float = 1.0  # E|P theta|^2 / |theta|^2; only `released` is no isometry

    def __init__(self, sizes: Sizes, d: int, seed: int) -> None:
        self.shapes = {tensor: _shape(size) for tensor, size in sizes.items()}
        self.sizes = {tensor: prod(shape) for tensor, shape in self.shapes.items()}
        if d < 1 or not sizes or min(self.sizes.values()) < 1:
            raise ValueError(f"d and every size must be positive, got d={d}, sizes={dict(sizes)}")
        self.d = d
        self.seed = seed
        self.D = sum(self.sizes.values())
        # With d in it, the points of a curve over d are independent draws.
        purpose = f"{self.name} {d}"
        self.keys = {tensor: random.key(seed, tensor, purpose) for tensor in self.sizes}

    @property
    def name(self) -> str:
        """The projection's name in configs and records: its module's."""
        return type(self).__module__.rpartition(".")[2]

    def take(self, weights: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Look at theta_0, for a P that depends on it; by default it does not."""

    @abstractmethod
    def forward_rows(
        self, theta: Float[Tensor, " d"], tensor: str, start: int, stop: int
    ) -> Float[Tensor, " rows"]:
        """Compute rows `start` to `stop` of a tensor's P theta; `start` is a multiple of grain."""

    @abstractmethod
    def backward_rows(
        self, grad: Float[Tensor, " rows"], tensor: str, start: int
    ) -> Float[Tensor, " d"]:
        """Compute P^T grad for the rows of a tensor from `start` on, a multiple of grain.

        Sums over rows are formed in float64.
        """

    def gradient_weight(self, tensor: str) -> float:
        """Return the factor on what theta's gradient (not lambda's) gets from a tensor.

        It is 1, but for `released`, which can repeat the wrong gradient of the circulating code.
        """
        return 1.0

    @abstractmethod
    def draws(self, tensor: str, start: int) -> Int[Tensor, " draws"]:
        """Return the integers that the rows from `start` on are made of, the first few hundred."""

    def project(self, theta: Float[Tensor, " d"], tensor: str) -> Float[Tensor, " rows"]:
        """Return the rows of P theta that belong to a tensor, flattened, in theta's dtype."""
        delta = theta.new_zeros(self.sizes[tensor])
        self.write(delta, delta, theta, tensor)
        return delta

    @exact
    def pull_back(self, grad: Float[Tensor, " rows"], tensor: str) -> Float[Tensor, " d"]:
        """Return P^T grad for a tensor's flattened gradient, in float32, or float64 for float64."""
        self._check(grad.numel(), self.sizes[tensor], tensor)
        dtype, engine = widest(grad), self._engine(grad)
        if engine and ready(engine, dtype, grad):
            return pull_back_rows(engine, self, grad, tensor, 0).to(dtype)
        total = grad.new_zeros(self.d, dtype=torch.float64)
        for start, stop in self._pieces(tensor, engine):
            part = grad[start:stop].to(dtype).contiguous()
            if engine:
                total += pull_back_rows(engine, self, part, tensor, start)
            else:
                total += self.backward_rows(part, tensor, start)
        return total.to(dtype)

    @exact
    def write(
        self,
        out: Float[Tensor, " rows"],
        base: Float[Tensor, " rows"],
        theta: Float[Tensor, " d"],
        tensor: str,
    ) -> None:
        """Set out = base + P theta in place for a tensor; `base` may be `out` itself.

        The sum is formed in the widest dtype of the three, float32 at least, and rounded once.
        """
        self._check(out.numel(), self.sizes[tensor], tensor)
        self._check(base.numel(), self.sizes[tensor], tensor)
        self._check(theta.numel(), self.d, "theta")
        dtype, engine = widest(out, base, theta), self._engine(out)
        theta = theta.to(dtype).contiguous()
        if engine and ready(engine, dtype, out, base):
            write_rows(engine, self, out, base, theta, tensor, 0)
            return
        for start, stop in self._pieces(tensor, engine):
            part = base[start:stop].to(dtype).contiguous()
            if engine:
                sums = torch.empty_like(part)
                write_rows(engine, self, sums, part, theta, tensor, start)
            else:
                sums = part + self.forward_rows(theta, tensor, start, stop)
            out[start:stop] = sums

    @exact
    def pull_back_all(
        self,
        grads: Mapping[str, Float[Tensor, " _"]],
        groups: Mapping[str, int],
        sums: Float[Tensor, "groups d"],
    ) -> None:
        """Add each tensor's P^T grad to its group's row of float64 sums.

        Together they can cost less than one after the other.
        """
        every = list(grads.values())
        dtype, engine = widest(*every), self._engine(every[0])
        if engine and hasattr(engine, "pull_back_all") and ready(engine, dtype, *every):
            for tensor, grad in grads.items():
                self._check(grad.numel(), self.sizes[tensor], tensor)
            engine.pull_back_all(self, list(grads.items()), groups, sums, 0)
            return
        for tensor, grad in grads.items():
            sums[groups[tensor]] += self.pull_back(grad, tensor)

    @exact
    def write_all(
        self,
        outs: Mapping[str, Float[Tensor, " _"]],
        bases: Mapping[str, Float[Tensor, " _"]],
        thetas: Float[Tensor, "groups d"],
        groups: Mapping[str, int],
    ) -> None:
        """Write several tensors as `write` does, each with its group's row of `thetas`.

        Together they can cost less than one after the other.
        """
        parts = [(tensor, out, bases[tensor]) for tensor, out in outs.items()]
        every = [part for _, *both in parts for part in both]
        dtype, engine = widest(*every, thetas), self._engine(every[0])
        if engine and hasattr(engine, "write_all") and ready(engine, dtype, *every):
            self._check(thetas.shape[1], self.d, "theta")
            for tensor, *both in parts:
                for part in both:
                    self._check(part.numel(), self.sizes[tensor], tensor)
            engine.write_all(self, parts, groups, thetas.to(dtype).contiguous(), 0)
            return
        for tensor, out, base in parts:
            self.write(out, base, thetas[groups[tensor]], tensor)

    def piece(self, out: Float[Tensor, " rows"], base: Float[Tensor, " rows"]) -> int | None:
        """Return the rows of a piece for `write_pieces`, None where it cannot serve these."""
        engine = self._engine(out)
        if engine is None or not hasattr(engine, "write_pieces"):
            return None
        if not ready(engine, widest(out), out, base):
            return None
        rows: int = engine.piece(self)
        return rows

    @exact
    def write_pieces(
        self,
        out: Float[Tensor, " rows"],
        base: Float[Tensor, " rows"],
        theta: Float[Tensor, " d"],
        tensor: str,
        pieces: Int[Tensor, " pieces"],
    ) -> None:
        """Write as `write` does, but only some pieces of `piece` rows of the tensor."""
        engine = self._engine(out)
        assert engine is not None
        engine.write_pieces(self, out, base, theta.to(out).contiguous(), tensor, pieces)

    def fingerprint(self) -> str:
        """Return 16 hex digits that differ where P differs: a hash of sizes, d, seed and draws.

        The draws are those of each tensor's first and last rows, as integers, so the value is the
        same on every device and with every engine.
        """
        digest = hashlib.blake2b(f"{self.name} {self.d} {self.seed}".encode(), digest_size=8)
        digest.update(random.quantile_table().tobytes())
        for tensor, size in self.sizes.items():
            digest.update(f"{tensor} {size}".encode())
            for start in (0, (size - 1) // self.grain * self.grain):
                digest.update(self.draws(tensor, start).to(torch.int32).numpy().tobytes())
        return digest.hexdigest()

    def _check(self, got: int, expected: int, what: str) -> None:
        if got != expected:
            raise ValueError(f"{what} has {expected:,} elements, got {got:,}")

    def _engine(self, like: Tensor) -> ModuleType | None:
        return find_engine(self.name, self.engine or ENGINES.get(like.device.type, "torch"))

    def _pieces(self, tensor: str, engine: ModuleType | None) -> Iterator[tuple[int, int]]:
        size, step = self.sizes[tensor], max(STAGED, self.grain) if engine else self.chunk
        for start in range(0, size, step):
            yield start, min(start + step, size)


def write_rows(
    engine: ModuleType,
    projection: Projection,
    out: Float[Tensor, " rows"],
    base: Float[Tensor, " rows"],
    theta: Float[Tensor, " d"],
    tensor: str,
    start: int,
) -> None:
    """Set out = base + P theta for the rows of one tensor from `start` on, by an engine."""
    if hasattr(engine, "write_all"):
        engine.write_all(projection, [(tensor, out, base)], {tensor: 0}, theta[None], start)
    else:
        engine.write(projection, out, base, theta, tensor, start)


def pull_back_rows(
    engine: ModuleType,
    projection: Projection,
    grad: Float[Tensor, " rows"],
    tensor: str,
    start: int,
) -> Float[Tensor, " d"]:
    """Return P^T grad for the rows of one tensor from `start` on, in float64, by an engine."""
    if not hasattr(engine, "pull_back_all"):
        v: Tensor = engine.pull_back(projection, grad, tensor, start)
        return v
    sums = grad.new_zeros((1, projection.d), dtype=torch.float64)
    engine.pull_back_all(projection, [(tensor, grad)], {tensor: 0}, sums, start)
    return sums[0]


def _shape(size: int | Sequence[int]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)
