"""Fastfood on the CPU: rows are read, transformed in cache and written, block by block.

All randomness is drawn on the fly, and nothing of a tensor's length is allocated.
"""

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor

from said_lightning.projections.core.random import SIGN, STREAM_ROWS, quantile_table
from said_lightning.projections.engines.numba_hadamard import LANES, hadamard
from said_lightning.projections.engines.numba_random import (
    half_words,
    inverse_permutation,
    normals,
    permutation,
    permutation_key,
)
from said_lightning.projections.engines.numba_tasks import SEEN, keys, tasks, total, untouched
from said_lightning.projections.engines.numba_vector import Memory, kernel, tile
from said_lightning.projections.fastfood import SMALLEST, Fastfood, order

CHUNK = 1024  # rows of a task's turn at least, and values of a permutation drawn at a time


def write(
    projection: Fastfood,
    out: Float[Tensor, " rows"],
    base: Float[Tensor, " rows"],
    theta: Float[Tensor, " d"],
    tensor: str,
    start: int,
) -> None:
    """Sets out = base + P theta for the rows of a tensor from `start` on."""
    turns = np.arange(-(-len(out) // piece(projection)))
    _write_turns(projection, out, base, theta, tensor, start, turns)


def piece(projection: Fastfood) -> int:
    """Gives the rows of a piece: a task's turn."""
    return max(projection.n, CHUNK)


def write_pieces(
    projection: Fastfood,
    out: Float[Tensor, " rows"],
    base: Float[Tensor, " rows"],
    theta: Float[Tensor, " d"],
    tensor: str,
    pieces: Int[Tensor, " pieces"],
) -> None:
    """Sets out = base + P theta for some pieces of a tensor, each told once."""
    _write_turns(projection, out, base, theta, tensor, 0, pieces.numpy())


def _write_turns(
    projection: Fastfood,
    out: Float[Tensor, " rows"],
    base: Float[Tensor, " rows"],
    theta: Float[Tensor, " d"],
    tensor: str,
    start: int,
    turns: NDArray[np.int64],
) -> None:
    n, rows, x = projection.n, len(out), theta.numpy()
    scales = [x.dtype.type(projection.scale(r)) for r in (n, order(rows % n or n))]
    draws = (start, *keys(projection, tensor), quantile_table())
    step = piece(projection)
    count = tasks(min(rows, len(turns) * step), step, n)
    _write(count, out.numpy(), base.numpy(), turns, x, *scales, n, *draws)


def pull_back(
    projection: Fastfood, grad: Float[Tensor, " rows"], tensor: str, start: int
) -> Float[Tensor, " d"]:
    """Gives P^T grad for the rows of a tensor from `start` on, in float64."""
    n = projection.n
    sums = np.empty((tasks(len(grad), piece(projection), n), n))
    _pull_back(len(sums), grad.numpy(), sums, start, *keys(projection, tensor), quantile_table())
    return torch.from_numpy(total(sums, projection.d, projection.scale(n)))


@kernel
@no_type_check
def _write(tasks, out, base, turns, theta, whole_scale, tail_scale, n, first, k0, k1, table):
    rows, step = len(out), max(n, CHUNK)
    x = np.zeros(n, theta.dtype)
    x[: len(theta)] = theta
    for task in prange(tasks):
        halves, order = np.empty(step, np.uint16), np.empty(CHUNK, np.uint32)
        u, w = np.empty_like(x), np.empty_like(x)
        for turn in range(task, len(turns), tasks):
            start = turns[turn] * step
            half_words(k0, k1, first + start, halves, STREAM_ROWS)
            for block in range(start, min(start + step, rows), n):
                key = permutation_key(k0, k1, (first + block) // n)
                left = min(n, rows - block)
                scale = whole_scale if left == n else tail_scale
                _forward(x, scale, _order(left), halves, block - start, key, table, u, w, order)
                _add_rows(out, base, block, w, left)


@njit
@no_type_check
def _forward(x, scale, r, halves, h, key, table, u, w, order):
    """Sets w[:r] = H G Pi H B x scale, the half-words being those from halves[h] on."""
    for j in range(0, len(x), LANES):
        _sign(u, x, scale, j, halves, h + j)
    hadamard(u, len(x))
    for first in range(0, r, CHUNK):
        count = min(CHUNK, r - first)
        permutation(key, _log2(len(x)), first, count, order)
        for i in range(0, count, LANES):
            _mix(w, first + i, u, order, i, halves, h + first + i, table)
    hadamard(w, r)


@kernel
@no_type_check
def _pull_back(tasks, grad, sums, first, k0, k1, table):
    rows, n = len(grad), sums.shape[1]
    step = max(n, CHUNK)
    for task in prange(tasks):
        sums[task] = 0
        halves, order = np.empty(step, np.uint16), np.empty(CHUNK, np.uint32)
        u, w = np.empty(n, grad.dtype), np.empty(n, grad.dtype)
        bits = np.empty(SEEN, grad.dtype)
        for start in range(task * step, rows, tasks * step):
            if untouched(grad, start, min(step, rows - start), bits):
                continue
            half_words(k0, k1, first + start, halves, STREAM_ROWS)
            for block in range(start, min(start + step, rows), n):
                key = permutation_key(k0, k1, (first + block) // n)
                left = min(n, rows - block)
                _copy_rows(w, grad, block, left, _order(left))
                _backward(w, _order(left), halves, block - start, key, table, u, order)
                for j in range(0, n, LANES):
                    _accumulate(sums[task], j, u, halves, block - start + j)


@njit
@no_type_check
def _backward(w, r, halves, h, key, table, u, order):
    """Sets u = H Pi^T G H w[:r], times sqrt(n / r): the sums are scaled for blocks of order n."""
    n = len(u)
    hadamard(w, r)
    for j in range(0, r, LANES):
        _weigh(w, j, halves, h + j, table)
    for first in range(0, n if r == n else 0, CHUNK):
        count = min(CHUNK, n - first)
        inverse_permutation(key, _log2(n), first, count, order)
        for i in range(0, count, LANES):
            _take(u, first + i, w, order, i)
    if r < n:
        u[:] = 0
        factor = u.dtype.type(np.sqrt(n / r))
        for first in range(0, r, CHUNK):
            count = min(CHUNK, r - first)
            permutation(key, _log2(n), first, count, order)
            for i in range(count):
                u[order[i]] = w[first + i] * factor
    hadamard(u, n)


@njit
@no_type_check
def _order(rows):
    r = SMALLEST
    while r < rows:
        r *= 2
    return r


@njit
@no_type_check
def _log2(n):
    bits = 0
    while 1 << bits < n:
        bits += 1
    return bits


@njit
@no_type_check
def _add_rows(out, base, start, w, rows):
    """Sets out[start : start + rows] = base[...] + w[:rows]."""
    whole = rows // LANES * LANES
    for j in range(0, whole, LANES):
        _add(out, base, start + j, w, j)
    for j in range(whole, rows):
        out[start + j] = base[start + j] + w[j]


@njit
@no_type_check
def _copy_rows(w, grad, start, rows, r):
    """Sets w[:r] = grad[start : start + rows] and zeros."""
    whole = rows // LANES * LANES
    for j in range(0, whole, LANES):
        _copy(w, j, grad, start + j)
    for j in range(whole, r):
        w[j] = grad[start + j] if j < rows else 0


@tile
def _copy(builder: Any, w: Memory, j: Any, grad: Memory, at: Any) -> None:
    w.store(j, grad.load(at, LANES))


@tile
def _add(builder: Any, out: Memory, base: Memory, at: Any, w: Memory, j: Any) -> None:
    out.store(at, base.load(at, LANES) + w.load(j, LANES))


@tile
def _sign(builder: Any, u: Memory, x: Memory, scale: Any, j: Any, halves: Memory, h: Any) -> None:
    """Does B."""
    u.store(j, (x.load(j, LANES) * scale).flipped(halves.load(h, LANES), SIGN))


@tile
def _mix(
    builder: Any,
    w: Memory,
    j: Any,
    u: Memory,
    order: Memory,
    i: Any,
    halves: Memory,
    h: Any,
    table: Memory,
) -> None:
    """Does G Pi."""
    weights = normals(halves.load(h, LANES), table, u.element)
    w.store(j, u.gather(order.load(i, LANES)) * weights)


@tile
def _weigh(builder: Any, w: Memory, j: Any, halves: Memory, h: Any, table: Memory) -> None:
    """Does G."""
    w.store(j, w.load(j, LANES) * normals(halves.load(h, LANES), table, w.element))


@tile
def _take(builder: Any, u: Memory, j: Any, w: Memory, order: Memory, i: Any) -> None:
    """Does the transpose of a whole Pi."""
    u.store(j, w.gather(order.load(i, LANES)))


@tile
def _accumulate(builder: Any, sums: Memory, j: Any, u: Memory, halves: Memory, h: Any) -> None:
    """Does B and adds up in the sums' wider type."""
    signed = u.load(j, LANES).flipped(halves.load(h, LANES), SIGN)
    sums.store(j, sums.load(j, LANES) + signed.converted(sums.element))
