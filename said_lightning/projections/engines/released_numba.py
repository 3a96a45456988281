"""The circulating code's projection on the CPU: a tensor's padded length is transformed at once.

Draws are made on the fly; one vector of the padded length is kept for a while. One thread does it
all, so the order of sums is one.
"""

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from said_lightning.projections.core.random import SIGN, STREAM_ROWS, quantile_table
from said_lightning.projections.engines.numba_hadamard import LANES, hadamard
from said_lightning.projections.engines.numba_random import half_words, normals
from said_lightning.projections.engines.numba_tasks import keys
from said_lightning.projections.engines.numba_vector import Memory, kernel, tile
from said_lightning.projections.fastfood import SMALLEST
from said_lightning.projections.fastfood import order as block_order
from said_lightning.projections.released import Released

CHUNK = 1024  # rows whose draws are made together: they stay in the first cache


def write(
    projection: Released,
    out: Float[Tensor, " rows"],
    base: Float[Tensor, " rows"],
    theta: Float[Tensor, " d"],
    tensor: str,
    start: int,
) -> None:
    """Set out = base + P theta for a tensor, whole, so `start` is 0."""
    length = projection.lengths[tensor]
    if length < SMALLEST:
        torch.add(base, projection.forward_rows(theta, tensor, start, len(out)), out=out)
        return
    x = np.zeros(_span(projection, length), theta.numpy().dtype)
    x[: len(theta)] = theta[: len(x)]
    _write(1, out.numpy(), base.numpy(), x, length, *_draws(projection, tensor))


def pull_back(
    projection: Released, grad: Float[Tensor, " rows"], tensor: str, start: int
) -> Float[Tensor, " d"]:
    """Return P^T grad for a tensor, whole, in float64."""
    length = projection.lengths[tensor]
    if length < SMALLEST:
        return projection.backward_rows(grad, tensor, start).double()
    sums = np.zeros(_span(projection, length))
    _pull_back(1, grad.numpy(), sums, length, *_draws(projection, tensor))
    return torch.nn.functional.pad(torch.from_numpy(sums), (0, projection.d - len(sums)))


def _span(projection: Released, length: int) -> int:
    """Return how many numbers B has: H of more, zeros, would repeat H of these."""
    return min(length, block_order(projection.d))


def _draws(projection: Released, tensor: str) -> tuple[Any, ...]:
    order: NDArray[np.int32] = projection.order(tensor).numpy()
    return *keys(projection, tensor), order, quantile_table()


@kernel
@no_type_check
def _write(tasks, out, base, x, length, k0, k1, order, table):
    halves = np.empty(CHUNK, np.uint16)
    w, g = np.empty(length, x.dtype), np.empty(CHUNK, x.dtype)
    _flip(x, k0, k1, halves)
    hadamard(x, len(x))
    squares = 0.0
    for first in range(0, length, CHUNK):
        count = min(CHUNK, length - first)
        squares += _draw(k0, k1, first, count, halves, g, table)
        for j in range(count):
            w[first + j] = x[order[first + j] & (len(x) - 1)] * g[j]
    hadamard(w, length)
    scale = w.dtype.type((len(out) * squares) ** -0.5)
    for row in range(len(out)):
        out[row] = base[row] + w[row] * scale


@kernel
@no_type_check
def _pull_back(tasks, grad, sums, length, k0, k1, order, table):
    halves = np.empty(CHUNK, np.uint16)
    w, g = np.zeros(length, grad.dtype), np.empty(CHUNK, grad.dtype)
    w[: len(grad)] = grad
    hadamard(w, length)
    squares = 0.0
    for first in range(0, length, CHUNK):
        count = min(CHUNK, length - first)
        squares += _draw(k0, k1, first, count, halves, g, table)
        for j in range(count):
            sums[order[first + j] & (len(sums) - 1)] += w[first + j] * g[j]
    hadamard(sums, len(sums))
    _flip(sums, k0, k1, halves)
    sums *= (len(grad) * squares) ** -0.5


@njit
@no_type_check
def _draw(k0, k1, first, count, halves, g, table):
    """Draw G for some rows, and return the sum of its squares."""
    half_words(k0, k1, first, halves, STREAM_ROWS)
    squares = 0.0
    for j in range(0, count, LANES):
        _normals(g, halves, j, table)
    for j in range(count):
        squares += np.float64(g[j]) * np.float64(g[j])
    return squares


@njit
@no_type_check
def _flip(x, k0, k1, halves):
    """Apply B."""
    for first in range(0, len(x), CHUNK):
        half_words(k0, k1, first, halves, STREAM_ROWS)
        for j in range(0, min(CHUNK, len(x) - first), LANES):
            _sign(x, first + j, halves, j)


@tile
def _sign(builder: Any, x: Memory, j: Any, halves: Memory, h: Any) -> None:
    x.store(j, x.load(j, LANES).flipped(halves.load(h, LANES), SIGN))


@tile
def _normals(builder: Any, g: Memory, halves: Memory, j: Any, table: Memory) -> None:
    g.store(j, normals(halves.load(j, LANES), table, g.element))
