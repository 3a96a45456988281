"""Sparse on the CPU: a row's few entries are drawn, used and forgotten."""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

from said_lightning.projections.engines.numba_random import half_words, philox
from said_lightning.projections.engines.numba_tasks import SEEN, keys, tasks, total, untouched
from said_lightning.projections.engines.numba_vector import kernel
from said_lightning.projections.sparse import Sparse

STEP = 1024  # rows of a task's turn
HALVES = 8  # half-words of a row's first draw


def write(
    projection: Sparse,
    out: Float[Tensor, " rows"],
    base: Float[Tensor, " rows"],
    theta: Float[Tensor, " d"],
    tensor: str,
    start: int,
) -> None:
    """Set out = base + P theta for the rows of a tensor from `start` on."""
    x = (theta * projection.scales[tensor]).numpy()
    draws = (start, *keys(projection, tensor), projection.thresholds[tensor].numpy())
    _write(tasks(len(out), STEP), out.numpy(), base.numpy(), x, *draws)


def pull_back(
    projection: Sparse, grad: Float[Tensor, " rows"], tensor: str, start: int
) -> Float[Tensor, " d"]:
    """Return P^T grad for the rows of a tensor from `start` on, in float64."""
    sums = np.zeros((tasks(len(grad), STEP, projection.d), projection.d))
    thresholds = projection.thresholds[tensor].numpy()
    _pull_back(len(sums), grad.numpy(), sums, start, *keys(projection, tensor), thresholds)
    return torch.from_numpy(total(sums, projection.d, projection.scales[tensor]))


@njit
@no_type_check
def _count(thresholds, word):
    """Draw the number of a row's entries."""
    return 0 if word < thresholds[0] else np.searchsorted(thresholds, word, side="right")


@kernel
@no_type_check
def _write(tasks, out, base, x, first, k0, k1, thresholds):
    rows, d = len(out), np.int64(len(x))
    for task in prange(tasks):
        halves = np.empty(STEP * HALVES, np.uint16)
        drawn = halves.view(np.uint32)
        for start in range(task * STEP, rows, tasks * STEP):
            half_words(k0, k1, (first + start) * HALVES, halves, 0)
            for row in range(min(STEP, rows - start)):
                at = 4 * row
                words = drawn[at], drawn[at + 1], drawn[at + 2], drawn[at + 3]
                total = 0.0
                for entry in range(1, _count(thresholds, np.int64(words[0])) + 1):
                    if entry % 4 == 0:
                        words = philox(k0, k1, first + start + row, entry // 4)
                    word = np.int64(words[entry % 4])
                    value = x[(word >> 1) * d >> 31]
                    total += -value if word & 1 else value
                out[start + row] = base[start + row] + out.dtype.type(total)


@kernel
@no_type_check
def _pull_back(tasks, grad, sums, first, k0, k1, thresholds):
    rows, d = len(grad), sums.shape[1]
    for task in prange(tasks):
        halves = np.empty(STEP * HALVES, np.uint16)
        drawn = halves.view(np.uint32)
        bits = np.empty(SEEN, grad.dtype)
        for start in range(task * STEP, rows, tasks * STEP):
            if untouched(grad, start, min(STEP, rows - start), bits):
                continue
            half_words(k0, k1, (first + start) * HALVES, halves, 0)
            for row in range(min(STEP, rows - start)):
                at = 4 * row
                words = drawn[at], drawn[at + 1], drawn[at + 2], drawn[at + 3]
                g = grad[start + row]
                for entry in range(1, _count(thresholds, np.int64(words[0])) + 1):
                    if entry % 4 == 0:
                        words = philox(k0, k1, first + start + row, entry // 4)
                    word = np.int64(words[entry % 4])
                    sums[task, (word >> 1) * d >> 31] += -g if word & 1 else g
