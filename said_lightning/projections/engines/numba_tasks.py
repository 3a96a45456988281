"""What the numba engines share: how a tensor's rows are dealt out, and how keys reach a kernel."""

from typing import Any, no_type_check

import numba
import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray

from said_lightning.projections.core.projection import Projection
from said_lightning.projections.engines.numba_vector import Memory, kernel, tile

ALONE = 2**13  # rows that are done before another thread is awake
MOST = 64  # tasks of one call: enough for many cores
READ, SEEN = 256, 16  # numbers of a gradient that are seen together, and scratch for that
SPAN = 2**13  # sums that a task adds up
SUMS = 2**22  # numbers at most that the tasks of one call keep


def tasks(rows: int, step: int, sums: int = 1) -> int:
    """Return the number of tasks for `rows` rows, dealt out `step` at a time.

    A task that sums rows up has `sums` numbers of its own. Tasks' sums are added in order, so that
    the number of threads changes no bit.
    """
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(min(torch.get_num_threads(), most))
    turns = -(-rows // step)
    return 1 if rows <= ALONE else max(1, min(turns, 4 + turns // 8, MOST, SUMS // sums))


@tile
def _see(builder: Any, x: Memory, at: Any, bits: Memory, first: Any) -> None:
    """Set `bits` to what is 0 only where no bit of x[at : at + READ] is set."""
    bits.store(first, x.any_bits(at, READ, SEEN))


@njit
@no_type_check
def untouched(grad, start, count, bits):
    """Report whether a gradient is 0, as in embedding rows that the batch did not touch."""
    whole = count // READ * READ
    for at in range(start, start + whole, READ):
        _see(grad, at, bits, 0)
        if np.any(bits):
            return False
    return not np.any(grad[start + whole : start + count])


def keys(projection: Projection, tensor: str) -> tuple[np.uint32, np.uint32]:
    """Return a tensor's two key words."""
    k0, k1 = projection.keys[tensor]
    return np.uint32(k0), np.uint32(k1)


def total(sums: NDArray[Any], d: int, scale: float) -> NDArray[np.float64]:
    """Add up the first d of the tasks' sums, in order, and scale them."""
    result = np.empty(d)
    _total(-(-d // SPAN) if sums.size > ALONE else 1, sums, result, scale)
    return result


@kernel
@no_type_check
def _total(tasks, sums, result, scale):
    span = -(-len(result) // tasks)
    for task in prange(tasks):
        for j in range(task * span, min(task * span + span, len(result))):
            value = 0.0
            for row in range(len(sums)):
                value += sums[row, j]
            result[j] = value * scale
