"""Sparse on a GPU: a fused pass over many tensors, each row's few entries drawn on the fly.

`pull_back` gives the same bits every time.
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
from said_lightning.projections.engines.triton_random import philox
from said_lightning.projections.engines.triton_runs import (
    GROUP,
    K0,
    K1,
    TENSOR,
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
from said_lightning.projections.sparse import Sparse

MIXED = True  # kernels read and write any floating dtype
WARPS = {"num_warps": 16}  # with more rows a thread registers spill


def write_all(
    projection: Sparse,
    parts: Sequence[Part],
    groups: Mapping[str, int],
    thetas: Float[Tensor, "groups d"],
    start: int,
) -> None:
    """Set out = base + P theta for many (tensor, out, base), each with its group's theta.

    Each is given from row `start` on; they are added in theta's dtype.
    """
    addresses, aligned = addresses_of([views for _, *views in parts])
    scatter = _scatter(projection, tuple(name for name, *_ in parts), thetas.device)
    with torch.cuda.device_of(thetas):
        for launch in launches_of(projection, kinds_of(parts, groups), start, thetas.device):
            given = (scatter.scales, *scatter.given, thetas, projection.d)
            launch.run(_write, addresses, aligned, *given, **WARPS)


def pull_back_all(
    projection: Sparse,
    parts: Sequence[Part],
    groups: Mapping[str, int],
    sums: Float[Tensor, "groups d"],
    start: int,
) -> None:
    """Add P^T grad of many (tensor, grad), given from row `start` on, to their groups' sums."""
    scatter = _scatter(projection, tuple(name for name, *_ in parts), sums.device)
    triton_scatter.pull_back_all(scatter, projection, parts, groups, sums, start)


@lru_cache(maxsize=512)
def _scatter(projection: Sparse, names: tuple[str, ...], device: torch.device) -> Scatter:
    """Put what the entries of tensors are scaled by, and what counts them, on a device.

    A row of bounds has where a tensor's thresholds begin, how many there are, and the steps of a
    search among them.
    """
    thresholds = [projection.thresholds[name] for name in names]
    bounds, begin = [], 0
    for length in map(len, thresholds):
        bounds.append((begin, length, length.bit_length()))
        begin += length
    scales = torch.tensor([projection.scales[name] for name in names], dtype=torch.float64)
    # A tensor has about root(size) entries in a place; none is 20 deviations above its mean.
    means = [size**0.5 for size in projection.sizes.values()]
    most = int(sum(mean + 20 * mean**0.5 + 100 for mean in means))
    given = (torch.tensor(bounds).to(device), torch.cat(thresholds).to(device))
    ones = torch.ones(projection.d, dtype=torch.float64, device=device)
    return Scatter(_pull_back, scales.to(device), ones, most, given, **WARPS)


@triton.jit
@no_type_check
def _count(words, run, bounds, thresholds):
    """Draw the number of each row's entries: of the thresholds that are at most its word."""
    place = bounds + tl.load(run + TENSOR) * 3
    thresholds += tl.load(place)
    low = tl.zeros_like(words).to(tl.int32)
    high = low + tl.load(place + 1).to(tl.int32)
    for _ in range(tl.load(place + 2).to(tl.int32)):
        middle = (low + high) // 2
        below = tl.load(thresholds + middle, mask=low < high, other=2**32) <= words.to(tl.int64)
        low, high = tl.where(below, middle + 1, low), tl.where(below, high, middle)
    return low


@triton.jit
@no_type_check
def _entry(x, words, d, count, number):
    """Return x, signed, where an entry of that number takes it, and zeros past a row's count."""
    place, negative = entries(words, d)
    v = tl.load(x + place, mask=number <= count, other=0)
    return tl.where(negative, -v, v)


@triton.jit(do_not_specialize=["d"])
@no_type_check
def _write(
    table, owners, addresses, scales, bounds, thresholds, thetas, d,
    OUT: tl.constexpr, BASE: tl.constexpr, TILE: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    run, position, at, inside = tile_of(table, owners, TILE, ALIGNED)
    k0, k1, counters = tl.load(run + K0), tl.load(run + K1), position + tl.arange(0, TILE)
    w0, w1, w2, w3 = philox(k0, k1, counters, 0)
    count = tl.where(inside, _count(w0, run, bounds, thresholds), 0)
    x = thetas + tl.load(run + GROUP) * d
    total = _entry(x, w1, d, count, 1) + _entry(x, w2, d, count, 2) + _entry(x, w3, d, count, 3)
    for block in range(1, tl.max(count, 0) // 4 + 1):
        w0, w1, w2, w3 = philox(k0, k1, counters, block)
        total += _entry(x, w0, d, count, 4 * block) + _entry(x, w1, d, count, 4 * block + 1)
        total += _entry(x, w2, d, count, 4 * block + 2) + _entry(x, w3, d, count, 4 * block + 3)
    total *= tl.load(scales + tl.load(run + TENSOR)).to(total.dtype)
    before = tl.load(numbers(run, addresses, 1, 2, BASE, ALIGNED) + at, mask=inside)
    after = before.to(total.dtype) + total
    tl.store(numbers(run, addresses, 0, 2, OUT, ALIGNED) + at, after.to(OUT), mask=inside)


@triton.jit(do_not_specialize=["headroom", "copies", "numel", "d"])
@no_type_check
def _pull_back(
    table, owners, addresses, scales, peaks, headroom, exact, copies, numel, d, bounds, thresholds,
    GRAD: tl.constexpr, WIDE: tl.constexpr, TILE: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    run, position, at, inside = tile_of(table, owners, TILE, ALIGNED)
    scale = unit(peaks + tl.load(run + GROUP) * d, headroom, WIDE)
    g = gradient(run, addresses, at, inside, scales, GRAD, WIDE, ALIGNED) * scale
    # Embedding rows that the batch did not touch have zero gradient.
    if (tl.max((g != 0).to(tl.int32), 0) != 0) & (scale > 0):
        k0, k1, counters = tl.load(run + K0), tl.load(run + K1), position + tl.arange(0, TILE)
        w0, w1, w2, w3 = philox(k0, k1, counters, 0)
        count = _count(w0, run, bounds, thresholds)
        row = sums_of(run, exact, copies, numel, d)
        add(row, w1, d, tl.where(count >= 1, g, 0))
        add(row, w2, d, tl.where(count >= 2, g, 0))
        add(row, w3, d, tl.where(count >= 3, g, 0))
        for block in range(1, tl.max(count, 0) // 4 + 1):
            w0, w1, w2, w3 = philox(k0, k1, counters, block)
            add(row, w0, d, tl.where(count >= 4 * block, g, 0))
            add(row, w1, d, tl.where(count >= 4 * block + 1, g, 0))
            add(row, w2, d, tl.where(count >= 4 * block + 2, g, 0))
            add(row, w3, d, tl.where(count >= 4 * block + 3, g, 0))
