"""Dense on the CPU: entries are drawn, used and forgotten, a few rows at a time."""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import prange
from torch import Tensor

from said_lightning.projections.core.random import STREAM_ROWS, quantile_table
from said_lightning.projections.dense import Dense
from said_lightning.projections.engines.numba_random import DRAWN, half_words
from said_lightning.projections.engines.numba_tasks import SEEN, keys, tasks, total, untouched
from said_lightning.projections.engines.numba_vector import kernel

STEP = 8  # rows of a task's turn: their half-words start at a counter, whatever d


def write(
    projection: Dense,
    out: Float[Tensor, " rows"],
    base: Float[Tensor, " rows"],
    theta: Float[Tensor, " d"],
    tensor: str,
    start: int,
) -> None:
    """Set out = base + P theta for the rows of a tensor from `start` on."""
    x = (theta * projection.scale).numpy()
    draws = (start, *keys(projection, tensor), quantile_table())
    _write(tasks(len(out), STEP), out.numpy(), base.numpy(), x, *draws)


def pull_back(
    projection: Dense, grad: Float[Tensor, " rows"], tensor: str, start: int
) -> Float[Tensor, " d"]:
    """Return P^T grad for the rows of a tensor from `start` on, in float64."""
    sums = np.zeros((tasks(len(grad), STEP, projection.d), projection.d))
    _pull_back(len(sums), grad.numpy(), sums, start, *keys(projection, tensor), quantile_table())
    return torch.from_numpy(total(sums, projection.d, projection.scale))


@kernel
@no_type_check
def _write(tasks, out, base, x, first, k0, k1, table):
    rows, d = len(out), len(x)
    for task in prange(tasks):
        halves = np.empty((STEP * d + DRAWN - 1) // DRAWN * DRAWN, np.uint16)
        for start in range(task * STEP, rows, tasks * STEP):
            half_words(k0, k1, (first + start) * d, halves, STREAM_ROWS)
            for row in range(min(STEP, rows - start)):
                total = 0.0
                for column in range(d):
                    half = halves[row * d + column]
                    normal = table[half & 0xFFF]
                    total += x[column] * (-normal if half & 0x1000 else normal)
                out[start + row] = base[start + row] + out.dtype.type(total)


@kernel
@no_type_check
def _pull_back(tasks, grad, sums, first, k0, k1, table):
    rows, d = len(grad), sums.shape[1]
    for task in prange(tasks):
        halves = np.empty((STEP * d + DRAWN - 1) // DRAWN * DRAWN, np.uint16)
        bits = np.empty(SEEN, grad.dtype)
        for start in range(task * STEP, rows, tasks * STEP):
            if untouched(grad, start, min(STEP, rows - start), bits):
                continue
            half_words(k0, k1, (first + start) * d, halves, STREAM_ROWS)
            for row in range(min(STEP, rows - start)):
                g = grad[start + row]
                for column in range(d):
                    half = halves[row * d + column]
                    normal = table[half & 0xFFF]
                    sums[task, column] += g * (-normal if half & 0x1000 else normal)
