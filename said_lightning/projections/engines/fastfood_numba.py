"""Fastfood on the CPU: rows are read, transformed in cache and written, block by block.

All randomness is drawn on the fly, and nothing of a tensor's length is allocated.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from said_lightning.projections.core.random import quantile_table
from said_lightning.projections.engines import numba_fastfood as kernels
from said_lightning.projections.engines.numba_tasks import tasks, total
from said_lightning.projections.fastfood import Fastfood

Part = tuple[Any, ...]  # a tensor's name, and what is written, read or pulled back of it


def write_all(
    projection: Fastfood,
    weights: Sequence[tuple[str, Float[Tensor, " _"], Float[Tensor, " _"]]],
    groups: Mapping[str, int],
    thetas: Float[Tensor, "groups d"],
    start: int,
) -> None:
    """Set out = base + P theta for many (tensor, out, base), each with its group's theta.

    Each is given from row `start` on.
    """
    for group, together in _grouped(weights, groups).items():
        _write_turns(projection, together, thetas[group], start)


def piece(projection: Fastfood) -> int:
    """Return the rows of a piece: a task's turn."""
    return max(projection.n, kernels.CHUNK)


def write_pieces(
    projection: Fastfood,
    out: Float[Tensor, " rows"],
    base: Float[Tensor, " rows"],
    theta: Float[Tensor, " d"],
    tensor: str,
    pieces: Int[Tensor, " pieces"],
) -> None:
    """Set out = base + P theta for some pieces of a tensor, each named once."""
    _write_turns(projection, [(tensor, out, base)], theta, 0, pieces.numpy())


def _write_turns(
    projection: Fastfood,
    weights: Sequence[tuple[str, Float[Tensor, " _"], Float[Tensor, " _"]]],
    theta: Float[Tensor, " d"],
    first: int,
    turns: NDArray[np.int64] | None = None,
) -> None:
    names, outs, bases = zip(*weights, strict=True)
    given, step = _given(projection, names, outs), piece(projection)
    turns = np.arange(given[2][-1]) if turns is None else turns
    rows = sum(len(out) for out in outs)
    x = np.zeros(projection.n, theta.numpy().dtype)
    x[: len(theta)] = theta
    scales = np.array([projection.scale(r) for r in projection.orders()], x.dtype)
    banks = _banks(projection, projection.banks)
    count = tasks(min(rows, len(turns) * step), step)
    kernels.write(count, *given, _addresses(bases), turns, x, scales, *banks, first)


def pull_back_all(
    projection: Fastfood,
    grads: Sequence[tuple[str, Float[Tensor, " _"]]],
    groups: Mapping[str, int],
    sums: Float[Tensor, "groups d"],
    start: int,
) -> None:
    """Add P^T grad of many (tensor, grad), given from row `start` on, to their groups' sums."""
    for group, together in _grouped(grads, groups).items():
        sums[group] += _pull_back_turns(projection, together, start)


def _grouped(parts: Sequence[Part], groups: Mapping[str, int]) -> dict[int, list[Part]]:
    found: dict[int, list[Part]] = {}
    for part in parts:
        found.setdefault(groups[part[0]], []).append(part)
    return found


def _pull_back_turns(
    projection: Fastfood, grads: Sequence[tuple[str, Float[Tensor, " _"]]], first: int
) -> Float[Tensor, " d"]:
    names, parts = zip(*grads, strict=True)
    n, rows = projection.n, sum(len(part) for part in parts)
    sums = np.empty((tasks(rows, piece(projection), n), n))
    empty = np.empty(0, parts[0].numpy().dtype)
    banks = _banks(projection, projection.inverse_banks)
    kernels.pull_back(len(sums), *_given(projection, names, parts), empty, sums, *banks, first)
    return torch.from_numpy(total(sums, projection.d, projection.scale(n)))


def _given(
    projection: Fastfood, names: Sequence[str], parts: Sequence[Float[Tensor, " _"]]
) -> tuple[Any, ...]:
    """Return what kernels read: addresses, rows, last turns and keys of tensors; magnitudes."""
    rows = np.array([len(part) for part in parts])
    keys = np.array([projection.keys[name] for name in names], np.uint32)
    turns = np.cumsum(-(-rows // piece(projection)))
    return _addresses(parts), rows, turns, keys, quantile_table()


def _addresses(parts: Sequence[Tensor]) -> NDArray[np.int64]:
    return np.array([part.data_ptr() for part in parts])


def _banks(
    projection: Fastfood, banks: Int[Tensor, " numbers"]
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    begins = np.array([projection.begin(r) for r in projection.orders()])
    return banks.numpy().view(np.uint32), begins
