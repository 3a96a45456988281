"""The matrix projection: theta as a matrix between two thin factors of each weight.

A Kronecker product, as Lotfi et al. take one for all of D (arXiv 2211.13609), here one for each
weight: with theta as a matrix Theta of a x b, P theta of a weight of rows x columns is
scale A Theta B^T. Of a layer y = x W^T with the gradient g of y, P^T of W's gradient g^T x is
scale (g A)^T (x B), so that neither it nor anything else of the weight's size is ever formed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from said_lightning.projections.core import random
from said_lightning.projections.core.engine import exact
from said_lightning.projections.core.factors import (
    LONG,
    WIDE,
    normals,
    orthonormal,
    sides_of,
    singular,
    stride,
    widened,
)
from said_lightning.projections.core.projection import Projection, Sizes


class Kronecker(Projection):
    """P theta = scale A Theta B^T for each weight with room for it; a random partition elsewhere.

    A (rows x a) and B (columns x b) have orthonormal columns, so that with a scale of
    sqrt(rows columns / D) P is an isometry; a b is d or a little more, with zeros at Theta's end.
    Rows of a word embedding's A are normal with the variance 1 / rows, each from its own counters,
    and P is an isometry in expectation. A bias is a row or a column more of its weight, with a
    normal row in place of B or A. Norms, and weights of fewer than d numbers, take one number of
    theta for each of theirs, with a random sign and the factor sqrt(d / D).

    Args:
        sizes: the shape of each tensor; a number alone is a vector's.
        basis: "random", or "svd": A and B are the first left and right singular vectors of each
            weight as `take` finds it, as LoRA-XS (arXiv 2405.17604) takes them.
        keep: keep A and B, about sqrt(d) (rows + columns) numbers a weight, or draw them anew each
            time.

    What is drawn is integer-exact. The factors come from LAPACK's QR in float64, made unique by a
    positive diagonal of R, so across machines and thread counts P is the same up to rounding, about
    1e-12, not to the last bit.
    """

    chunk = 2**22  # a BLAS works on the parts of a product itself

    def __init__(
        self,
        sizes: Sizes,
        d: int,
        seed: int,
        basis: Literal["random", "svd"] = "random",
        keep: bool = True,
    ) -> None:
        super().__init__(sizes, d, seed)
        self.matrices, self.owners = sides_of(self.shapes, d)
        self.basis = basis
        self.keep = keep
        self._kept: dict[tuple[str, torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}
        self._entered: dict[Any, tuple[Tensor, Tensor]] = {}
        self._given: dict[str, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Take singular vectors from the weights where these are the basis."""
        if self.basis == "random":
            return
        for tensor, one in self.matrices.items():
            if tensor not in self.owners:
                weight = weights[tensor].detach().double().reshape(one.rows, one.columns)
                if (both := singular(weight, one)) is not None:
                    self._given[tensor] = both
        self._kept.clear()

    def factors(
        self, tensor: str, device: torch.device, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "rows a"], Float[Tensor, "columns b"]]:
        """Return A and B of a matrix, with columns of zeros."""
        key = tensor, device, dtype
        if key in self._kept:
            return self._kept[key]
        if owner := self.owners.get(tensor):
            own, other = self._of_bias(tensor, owner, device, dtype)
        else:
            own, other = self._given.get(tensor) or self._drawn(tensor)
        made = widened(own.to(device, dtype)), widened(other.to(device, dtype))
        if self.keep:
            self._kept[key] = made
        return made

    def _drawn(self, tensor: str) -> tuple[Float[Tensor, "rows a"], Float[Tensor, "columns b"]]:
        one, key = self.matrices[tensor], self.keys[tensor]
        own = normals(key, 0, one.rows, one.a)
        other = normals(key, one.rows * stride(one.a), one.columns, one.b)
        return orthonormal(own), orthonormal(other)

    def _of_bias(
        self, tensor: str, owner: str, device: torch.device, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "rows a"], Float[Tensor, "columns b"]]:
        """Return the factors of a bias: one is its weight's, of the other it has a row."""
        one = self.matrices[tensor]
        own, other = self.factors(owner, device, dtype)
        if one.columns == 1:
            return own, normals(self.keys[tensor], 0, 1, one.b)
        return normals(self.keys[tensor], 0, 1, one.a), other

    def rows(
        self, tensor: str, rows: Int[Tensor, " n"], dtype: torch.dtype
    ) -> Float[Tensor, "n a"]:
        """Return some rows of a matrix's A."""
        one = self.matrices[tensor]
        if self.keep or one.rows < LONG or tensor in self._given:
            every, _ = self.factors(tensor, rows.device, dtype)
            return every[rows]
        each = -(-one.a // random.HALVES)
        unique, place = rows.unique(return_inverse=True)
        counters = unique[:, None] * each + torch.arange(each, device=rows.device)
        halves = random.halves_of(self.keys[tensor], counters.reshape(-1)).view(len(unique), -1)
        drawn = random.normals(halves[:, : one.a], torch.float64) / one.rows**0.5
        return widened(drawn.to(dtype))[place]

    def core(self, theta: Float[Tensor, " d"], tensor: str) -> Float[Tensor, "a b"]:
        """Return scale Theta, what stands between the factors of a matrix, with zeros."""
        one = self.matrices[tensor]
        flat = functional.pad(theta * self._scale(tensor), (0, one.a * one.b - self.d))
        return functional.pad(flat.view(one.a, one.b), (0, -one.b % WIDE, 0, -one.a % WIDE))

    def from_core(self, grad: Float[Tensor, "a b"], tensor: str) -> Float[Tensor, " d"]:
        """Return theta's gradient from that of Theta between the factors of a matrix."""
        one = self.matrices[tensor]
        return grad[: one.a, : one.b].reshape(-1)[: self.d] * self._scale(tensor)

    @exact
    def write_all(
        self,
        outs: Mapping[str, Float[Tensor, " _"]],
        bases: Mapping[str, Float[Tensor, " _"]],
        thetas: Float[Tensor, "groups d"],
        groups: Mapping[str, int],
    ) -> None:
        """Write matrices in one product each, and all vectors together."""
        vectors = []
        for tensor, out in outs.items():
            theta, one = thetas[groups[tensor]], self.matrices.get(tensor)
            if one is None:
                vectors.append(tensor)
            elif {out.dtype, bases[tensor].dtype} == {theta.dtype} and out.is_contiguous():
                left, right = self.factors(tensor, out.device, out.dtype)
                base, made = (part.view(one.rows, -1) for part in (bases[tensor], out))
                torch.addmm(base, left, self.core(theta, tensor) @ right.T, out=made)
            else:
                self.write(out, bases[tensor], theta, tensor)
        if vectors:
            slots, signs = self._vectors(vectors, groups, thetas.device)
            moves = (thetas.reshape(-1)[slots] * signs * self._vector).split(
                [self.sizes[tensor] for tensor in vectors]
            )
            for tensor, move in zip(vectors, moves, strict=True):
                outs[tensor].copy_(bases[tensor] + move)

    @exact
    def pull_back_all(
        self,
        grads: Mapping[str, Float[Tensor, " _"]],
        groups: Mapping[str, int],
        sums: Float[Tensor, "groups d"],
    ) -> None:
        """Pull back all vectors' gradients together, and each matrix' alone."""
        vectors = [tensor for tensor in grads if tensor not in self.matrices]
        for tensor, grad in grads.items():
            if tensor in self.matrices:
                sums[groups[tensor]] += self.pull_back(grad, tensor)
        if vectors:
            slots, signs = self._vectors(vectors, groups, sums.device)
            every = torch.cat([grads[tensor].reshape(-1).to(sums) for tensor in vectors])
            sums.view(-1).index_add_(0, slots, every * signs * self._vector)

    def forward_rows(
        self, theta: Float[Tensor, " d"], tensor: str, start: int, stop: int
    ) -> Float[Tensor, " rows"]:
        if tensor not in self.matrices:
            slot, sign = random.slots(self.keys[tensor], start, stop - start, self.d, theta.device)
            return theta[slot] * sign * self._vector
        one = self.matrices[tensor]
        left, right = self.factors(tensor, theta.device, theta.dtype)
        first, last = start // one.columns, -(-stop // one.columns)
        part = left[first:last] @ (self.core(theta, tensor) @ right.T)
        skipped = first * one.columns
        return part.reshape(-1)[start - skipped : stop - skipped]

    def backward_rows(
        self, grad: Float[Tensor, " rows"], tensor: str, start: int
    ) -> Float[Tensor, " d"]:
        stop = start + len(grad)
        if tensor not in self.matrices:
            slot, sign = random.slots(self.keys[tensor], start, len(grad), self.d, grad.device)
            return grad.new_zeros(self.d).index_add_(0, slot, grad * sign) * self._vector
        one = self.matrices[tensor]
        left, right = self.factors(tensor, grad.device, grad.dtype)
        first, last = start // one.columns, -(-stop // one.columns)
        around = (start - first * one.columns, last * one.columns - stop)
        whole = functional.pad(grad, around).view(last - first, one.columns)
        return self.from_core(left[first:last].T @ (whole @ right), tensor)

    def draws(self, tensor: str, start: int) -> Int[Tensor, " draws"]:
        key, one = self.keys[tensor], self.matrices.get(tensor)
        if one is None:
            rows = min(128, self.sizes[tensor] - start)
            return torch.cat(random.slots(key, start, rows, self.d))
        row, column = divmod(start, one.columns)
        second = one.rows * stride(one.a) + column * stride(one.b)
        places = (0,) if tensor in self.owners else (row * stride(one.a), second)
        parts = [random.half_words(key, place, 128) for place in places]
        return torch.cat([torch.tensor([*one, self.basis == "svd"]), *parts])

    @property
    def _vector(self) -> float:
        """The magnitude of the entries of tensors that are no matrices."""
        return (self.d / self.D) ** 0.5

    def _vectors(
        self, tensors: Sequence[str], groups: Mapping[str, int], device: torch.device
    ) -> tuple[Int[Tensor, " rows"], Int[Tensor, " rows"]]:
        """Return the number of theta of each of some vectors' rows, in its group's row of d."""
        places = tuple((tensor, groups[tensor]) for tensor in tensors)
        if (key := (places, device)) not in self._entered:
            slots, signs = [], []
            for tensor, group in places:
                size = self.sizes[tensor]
                slot, sign = random.slots(self.keys[tensor], 0, size, self.d, device)
                slots.append(slot + group * self.d)
                signs.append(sign)
            self._entered[key] = torch.cat(slots), torch.cat(signs)
        return self._entered[key]

    def _scale(self, tensor: str) -> float:
        return (self.sizes[tensor] / self.D) ** 0.5
