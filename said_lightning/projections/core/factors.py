"""The thin factors between which a weight's P theta is a matrix: their sides, and their columns."""

from collections.abc import Mapping, Sequence
from math import isqrt, prod
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections.core import random

LONG = 2**14  # rows of a factor from which on each is drawn for itself, not orthonormal
WIDE = 8  # to a multiple of this factors get columns of zeros, which a product is faster with


class Sides(NamedTuple):
    """A weight as a matrix, and theta as one between its factors."""

    rows: int
    columns: int
    a: int
    b: int


def sides_of(
    shapes: Mapping[str, Sequence[int]], d: int
) -> tuple[dict[str, Sides], dict[str, str]]:
    """Return the tensors that are matrices, and the weight of each bias among them.

    A bias is a row or a column more of its weight.
    """
    found = {tensor: sides(shape, d) for tensor, shape in shapes.items()}
    matrices = {tensor: one for tensor, one in found.items() if one is not None}
    owners: dict[str, str] = {}
    for tensor, shape in shapes.items():
        owner = f"{tensor.removesuffix('bias')}weight"
        one = matrices.get(owner)
        if not tensor.endswith("bias") or one is None or len(shapes[owner]) != 2:
            continue
        if tuple(shape) == (one.rows,):
            matrices[tensor] = one._replace(columns=1)
        elif tuple(shape) == (one.columns,):
            matrices[tensor] = one._replace(rows=1)
        else:
            continue
        owners[tensor] = owner
    return matrices, owners


def sides(shape: Sequence[int], d: int) -> Sides | None:
    """Return a tensor as a matrix, split where it is most even; None where theta has no room."""
    cuts = [(prod(shape[:cut]), prod(shape[cut:])) for cut in range(1, len(shape))]
    if not cuts:
        return None
    rows, columns = min(cuts, key=lambda cut: max(cut) / min(cut))
    a = min(isqrt(d - 1) + 1, rows)
    b = min(-(-d // a), columns)
    a = -(-d // b)
    return Sides(rows, columns, a, b) if a <= rows else None


def normals(key: tuple[int, int], first: int, rows: int, width: int) -> Float[Tensor, "rows width"]:
    """Draw a factor's entries from a position on, each row from counters of its own."""
    halves = random.half_words(key, first, rows * stride(width)).view(rows, -1)
    return random.normals(halves[:, :width], torch.float64)


def orthonormal(drawn: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """Make columns orthonormal; those of many rows are so up to a few times 1/sqrt(rows)."""
    rows = len(drawn)
    if rows >= LONG:
        return drawn / rows**0.5
    q, r = torch.linalg.qr(drawn)
    made: Tensor = q * torch.where(r.diagonal() < 0, -1.0, 1.0)
    return made


def widened(factor: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows wide"]:
    """Add columns of zeros where there have to be some."""
    lacking = -factor.shape[1] % WIDE
    return torch.nn.functional.pad(factor, (0, lacking)) if lacking else factor.contiguous()


def singular(
    weight: Float[Tensor, "rows columns"], one: Sides
) -> tuple[Float[Tensor, "rows a"], Float[Tensor, "columns b"]] | None:
    """Return a weight's first left and right singular vectors, None where there are too few."""
    if max(one.a, one.b) > min(weight.shape):
        return None
    left, _, right = torch.linalg.svd(weight, full_matrices=False)
    # LAPACK leaves the sign open.
    sign = left.gather(0, left.abs().argmax(0, keepdim=True)).sign()
    return (left * sign)[:, : one.a], (right * sign.T)[: one.b].T


def stride(width: int) -> int:
    """Return the draws from one row of a factor to the next, a multiple of a counter's."""
    return -(-width // random.HALVES) * random.HALVES
