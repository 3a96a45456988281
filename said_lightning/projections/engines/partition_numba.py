"""The partition on the CPU: a fused pass over the rows, slots and signs drawn on the fly."""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit, prange
from torch import Tensor

from said_lightning.projections.core.projection import STAGED
from said_lightning.projections.core.random import STREAM_ROWS
from said_lightning.projections.engines.numba_random import half_words
from said_lightning.projections.engines.numba_tasks import SEEN, keys, tasks, total, untouched
from said_lightning.projections.engines.numba_vector import kernel
from said_lightning.projections.partition import Partition

CHUNK = 1024  # rows whose draws are made together: they stay in the first cache
ONE, WORD = np.uint64(1), np.uint64(31)  # the sign's bit of a draw, and the bits of the slot


def write(
    projection: Partition,
    out: Float[Tensor, " rows"],
    base: Float[Tensor, " rows"],
    theta: Float[Tensor, " d"],
    tensor: str,
    start: int,
) -> None:
    """Set out = base + P theta for the rows of a tensor from `start` on."""
    x = theta * projection.factors.to(theta)
    arrays = (part.numpy() for part in (out, base, torch.stack((x, -x), dim=1).view(-1)))
    _write(tasks(len(out), CHUNK), *arrays, start, *keys(projection, tensor))


def pull_back(
    projection: Partition, grad: Float[Tensor, " rows"], tensor: str, start: int
) -> Float[Tensor, " d"]:
    """Return P^T grad for the rows of a tensor from `start` on, in float64."""
    plus, minus = _sums(projection, grad, tensor, start)
    return (plus - minus) * projection.factors


def count(projection: Partition, tensor: str) -> Int[Tensor, " d"]:
    """Count a tensor's rows in each slot."""
    counts, size = torch.zeros(projection.d, dtype=torch.float64), projection.sizes[tensor]
    ones = torch.ones(min(size, STAGED))
    for start in range(0, size, STAGED):
        counts += sum(_sums(projection, ones[: size - start], tensor, start))
    return counts.long()


def _sums(
    projection: Partition, grad: Float[Tensor, " rows"], tensor: str, start: int
) -> tuple[Float[Tensor, " d"], ...]:
    """Sum numbers by the slots of their rows, those of positive signs and those of negative."""
    d = 2 * projection.d
    sums = np.zeros((tasks(len(grad), CHUNK, d), d))
    _pull_back(len(sums), grad.numpy(), sums, start, *keys(projection, tensor))
    return torch.from_numpy(total(sums, d, 1.0)).view(-1, 2).unbind(1)


@njit
@no_type_check
def _draw(k0, k1, start, d, halves, entries):
    """Fill `entries` with a chunk's draws: twice the slot, plus 1 where the sign is negative."""
    half_words(k0, k1, 2 * start, halves, STREAM_ROWS)
    words = halves.view(np.uint32)
    for j in range(CHUNK):
        word = np.uint64(words[j])
        slot = (word >> ONE) * d >> WORD
        entries[j] = np.uint32(slot << ONE | word & ONE)


@kernel
@no_type_check
def _write(tasks, out, base, signed, first, k0, k1):
    rows, d = len(out), np.uint64(len(signed) // 2)
    for task in prange(tasks):
        halves, entries = np.empty(2 * CHUNK, np.uint16), np.empty(CHUNK, np.uint32)
        for start in range(task * CHUNK, rows, tasks * CHUNK):
            _draw(k0, k1, first + start, d, halves, entries)
            for j in range(min(CHUNK, rows - start)):
                out[start + j] = base[start + j] + signed[entries[j]]


@kernel
@no_type_check
def _pull_back(tasks, grad, sums, first, k0, k1):
    rows = len(grad)
    d = np.uint64(sums.shape[1] // 2)
    for task in prange(tasks):
        halves, entries = np.empty(2 * CHUNK, np.uint16), np.empty(CHUNK, np.uint32)
        bits = np.empty(SEEN, grad.dtype)
        for start in range(task * CHUNK, rows, tasks * CHUNK):
            if untouched(grad, start, min(CHUNK, rows - start), bits):
                continue
            _draw(k0, k1, first + start, d, halves, entries)
            for j in range(min(CHUNK, rows - start)):
                sums[task, entries[j]] += grad[start + j]
