"""The partition on a GPU: a fused pass over many tensors, slots and signs drawn on the fly.

`write` gives the reference's bits; `pull_back` gives the same bits every time.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections.engines import triton_scatter
from said_lightning.projections.engines.triton_random import STREAM_ROWS, philox
from said_lightning.projections.engines.triton_runs import (
    GROUP,
    K0,
    K1,
    Part,
    addresses_of,
    kinds_of,
    numbers,
)
from said_lightning.projections.engines.triton_scatter import (
    Scatter,
    add,
    entries,
    gradient,
    launches_of,
    sums_of,
    tile_of,
    unit,
)
from said_lightning.projections.partition import Partition

MIXED = True  # kernels read and write any floating dtype


def write_all(
    projection: Partition,
    parts: Sequence[Part],
    groups: Mapping[str, int],
    thetas: Float[Tensor, "groups d"],
    start: int,
) -> None:
    """Set out = base + P theta for many (tensor, out, base), each with its group's theta.

    Each is given from row `start` on; they are added in theta's dtype.
    """
    addresses, aligned = addresses_of([views for _, *views in parts])
    x = thetas * _factors(projection, thetas.dtype, thetas.device)
    with torch.cuda.device_of(thetas):
        for launch in launches_of(projection, kinds_of(parts, groups), start, thetas.device):
            launch.run(_write, addresses, aligned, x, projection.d)


def pull_back_all(
    projection: Partition,
    parts: Sequence[Part],
    groups: Mapping[str, int],
    sums: Float[Tensor, "groups d"],
    start: int,
) -> None:
    """Add P^T grad of many (tensor, grad), given from row `start` on, to their groups' sums."""
    scatter = _scatter(projection, len(parts), sums.device)
    triton_scatter.pull_back_all(scatter, projection, parts, groups, sums, start)


@lru_cache(maxsize=64)
def _factors(
    projection: Partition, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, " d"]:
    return projection.factors.to(device, dtype)


@lru_cache(maxsize=512)
def _scatter(projection: Partition, tensors: int, device: torch.device) -> Scatter:
    factors = _factors(projection, torch.float64, device)
    most = int(projection.counts.max())
    return Scatter(_pull_back, factors.new_ones(tensors), factors, most)


@triton.jit
@no_type_check
def _words(run, position, TILE: tl.constexpr):
    """Draw the words of a tile's rows, those of every fourth row together."""
    counters = (position >> 2) + tl.arange(0, TILE // 4)
    return philox(tl.load(run + K0), tl.load(run + K1), counters, STREAM_ROWS)


@triton.jit(do_not_specialize=["d"])
@no_type_check
def _write(
    table, owners, addresses, x, d, OUT: tl.constexpr, BASE: tl.constexpr,
    TILE: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    run, position, at, inside = tile_of(table, owners, TILE, ALIGNED)
    w0, w1, w2, w3 = _words(run, position, TILE)
    words = tl.reshape(tl.join(tl.join(w0, w2), tl.join(w1, w3)), (TILE,))
    slot, negative = entries(words, d)
    w = tl.load(x + tl.load(run + GROUP) * d + slot)
    before = tl.load(numbers(run, addresses, 1, 2, BASE, ALIGNED) + at, mask=inside)
    after = before.to(w.dtype) + tl.where(negative, -w, w)
    tl.store(numbers(run, addresses, 0, 2, OUT, ALIGNED) + at, after.to(OUT), mask=inside)


@triton.jit(do_not_specialize=["headroom", "copies", "numel", "d"])
@no_type_check
def _pull_back(
    table, owners, addresses, scales, peaks, headroom, exact, copies, numel, d,
    GRAD: tl.constexpr, WIDE: tl.constexpr, TILE: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    run, position, at, inside = tile_of(table, owners, TILE, ALIGNED)
    scale = unit(peaks + tl.load(run + GROUP) * d, headroom, WIDE)
    g = gradient(run, addresses, at, inside, scales, GRAD, WIDE, ALIGNED) * scale
    # Embedding rows that the batch did not touch have zero gradient.
    if (tl.max((g != 0).to(tl.int32), 0) != 0) & (scale > 0):
        w0, w1, w2, w3 = _words(run, position, TILE)
        even, odd = tl.split(tl.reshape(g, (TILE // 4, 2, 2)))
        g0, g2 = tl.split(even)
        g1, g3 = tl.split(odd)
        row = sums_of(run, exact, copies, numel, d)
        add(row, w0, d, g0)
        add(row, w1, d, g1)
        add(row, w2, d, g2)
        add(row, w3, d, g3)
