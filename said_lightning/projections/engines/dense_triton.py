"""Dense on a GPU: entries are drawn a chunk at a time, and cuBLAS multiplies.

They are products of a matrix and a vector: only those of two matrices would be rounded to
TensorFloat-32 where torch is set to that. Sums over rows are formed in float64.
"""

from collections.abc import Iterator
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections.dense import Dense
from said_lightning.projections.engines.triton_random import (
    HALVES,
    half_words,
    magnitudes,
    normals,
)
from said_lightning.projections.engines.triton_runs import signed_words

CHUNK = 2**24  # entries at a time: 64 MB, or 128 in float64
TILE = 2048  # entries of a program


def write(
    projection: Dense,
    out: Float[Tensor, " rows"],
    base: Float[Tensor, " rows"],
    theta: Float[Tensor, " d"],
    tensor: str,
    start: int,
) -> None:
    """Set out = base + P theta for the rows of a tensor from `start` on."""
    x = theta * projection.scale
    for rows, entries in _chunks(projection, out, tensor, start):
        torch.addmv(base[rows], entries, x, out=out[rows])


def pull_back(
    projection: Dense, grad: Float[Tensor, " rows"], tensor: str, start: int
) -> Float[Tensor, " d"]:
    """Return P^T grad for the rows of a tensor from `start` on, in float64."""
    wide = grad.double()
    sums = wide.new_zeros(projection.d)
    for rows, entries in _chunks(projection, wide, tensor, start):
        sums += torch.mv(entries.T, wide[rows])
    return sums * projection.scale


def _chunks(
    projection: Dense, like: Float[Tensor, " rows"], tensor: str, start: int
) -> Iterator[tuple[slice, Float[Tensor, "rows d"]]]:
    """Draw entries, chunk by chunk; the half-words of each begin at a counter."""
    d, step = projection.d, max(1, CHUNK // (HALVES.value * projection.d)) * HALVES.value
    for first in range(0, len(like), step):
        rows = min(step, len(like) - first)
        entries = like.new_empty((rows, d))
        given = ((start + first) * d // HALVES.value, *signed_words(projection.keys[tensor]))
        with torch.cuda.device_of(like):
            grid = (-(-rows * d // TILE),)
            _draw[grid](entries, rows * d, *given, magnitudes(like.device), TILE=TILE)
        yield slice(first, first + rows), entries


@triton.jit(do_not_specialize=["count", "counter", "k0", "k1"])
@no_type_check
def _draw(entries, count, counter, k0, k1, table, TILE: tl.constexpr):
    """Write the normals of a row of counters."""
    tile = tl.program_id(0).to(tl.int64)
    counters = counter + tile * (TILE // HALVES) + tl.arange(0, TILE // HALVES)
    drawn = normals(half_words(k0, k1, counters), table, entries.dtype.element_ty)
    at = tile * TILE + tl.arange(0, TILE)
    tl.store(entries + at, drawn, mask=at < count)
