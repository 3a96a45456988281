"""Fastfood on a GPU: one fused pass over a tensor, all randomness on the fly.

A program reads a tile of rows, transforms it in registers and shared memory and writes it; nothing
of a tensor's length is allocated. `write` adds in the reference's order and gives its bits;
`pull_back` adds in a fixed order and gives the same bits every time. Blocks that are too long for
one program are left to `triton_long`.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections.core.random import quantile_table
from said_lightning.projections.engines import triton_long
from said_lightning.projections.engines.triton_fold import fold, unfold
from said_lightning.projections.engines.triton_hadamard import hadamard
from said_lightning.projections.engines.triton_random import (
    HALVES,
    Draws,
    half_words,
    normals,
    permuted,
    signed,
)
from said_lightning.projections.fastfood import Fastfood, order

MIXED = True  # kernels read and write any floating dtype
TILE = 1024  # rows of a program where blocks are shorter
LONGEST = 2**14  # block of one program: 32 numbers a thread, 64 KB of shared memory for Pi
WARPS = 16 * 132  # of the programs that pull back: 16 for each multiprocessor of an H100


def write(
    projection: Fastfood,
    out: Float[Tensor, " rows"],
    base: Float[Tensor, " rows"],
    theta: Float[Tensor, " d"],
    tensor: str,
    start: int,
) -> None:
    """Sets out = base + P theta for the rows of a tensor from `start` on, adding in theta's dtype.

    `out` and `base` may be of any floating dtypes, and the same memory.
    """
    n, draws = projection.n, _draws(projection, tensor, out.device)
    with torch.cuda.device_of(out):
        for first, last, r in _runs(len(out), n):
            x = theta * projection.scale(r)
            if r < n:
                x = fold(x, n, r, start + first, draws)
            run = triton_long.write if r > LONGEST else _write_tiles
            run(out[first:last], base[first:last], x, r, r == n, start + first, draws)


def pull_back(
    projection: Fastfood, grad: Float[Tensor, " rows"], tensor: str, start: int
) -> Float[Tensor, " d"]:
    """Gives P^T grad for the rows of a tensor from `start` on, in float64, from any dtype.

    Butterflies and a program's sums are in float32, or float64 for float64; the sum over all
    programs is in float64.
    """
    n, draws = projection.n, _draws(projection, tensor, grad.device)
    v = grad.new_zeros(n, dtype=torch.float64)
    with torch.cuda.device_of(grad):
        for first, last, r in _runs(len(grad), n):
            run = triton_long.pull_back if r > LONGEST else _pull_back_tiles
            sums = run(grad[first:last], r, r == n, start + first, draws)
            if r < n:
                sums = unfold(sums, n, start + first, draws)
            v += sums * projection.scale(r)
    return v[: projection.d]


def _runs(rows: int, n: int) -> Iterator[tuple[int, int, int]]:
    """Splits rows into what one call can do, blocks of one order: first, last, order."""
    rest = rows % n
    whole = rows - rest if rest and order(rest) < n else rows
    step = max(n, triton_long.BUFFER) if n > LONGEST else rows
    for first in range(0, whole, step):
        yield first, min(first + step, whole), n
    if whole < rows:
        yield whole, rows, order(rest)


def _write_tiles(
    out: Float[Tensor, " rows"],
    base: Float[Tensor, " rows"],
    x: Float[Tensor, " d"],
    n: int,
    flip: bool,
    first: int,
    draws: Draws,
) -> None:
    options = _options(n, flip)
    programs = triton.cdiv(len(out), options["ROWS"])
    _write[(programs,)](out, base, x, len(x), first, len(out), *draws, **options)


def _pull_back_tiles(
    grad: Float[Tensor, " rows"], n: int, flip: bool, first: int, draws: Draws
) -> Float[Tensor, " n"]:
    options = _options(n, flip)
    # No more on a larger GPU, so that every GPU adds in the same order.
    programs = min(triton.cdiv(len(grad), options["ROWS"]), WARPS // options["num_warps"])
    dtype = torch.promote_types(grad.dtype, torch.float32)
    sums = grad.new_empty((programs, n), dtype=dtype)
    _pull_back[(programs,)](grad, sums, first, len(grad), *draws, **options)
    return sums.sum(0, dtype=torch.float64)


def _draws(projection: Fastfood, tensor: str, device: torch.device) -> Draws:
    """Gives what kernels draw from: the magnitudes, and the key as signed words."""
    k0, k1 = ((word ^ 2**31) - 2**31 for word in projection.keys[tensor])
    return _table(device), k0, k1


@cache
def _table(device: torch.device) -> Tensor:
    return torch.from_numpy(quantile_table()).to(device)


def _options(n: int, flip: bool) -> dict[str, Any]:
    """Gives a launch's constants for blocks of order n, with or without B."""
    rows = max(n, TILE)
    # 16 numbers a thread leave registers for several programs on a multiprocessor. With 32 warps a
    # program's threads would have 64 registers each. With a single one Pi would become a shuffle
    # for each 32 numbers of the tile, not one pass through shared memory.
    warps = min(16, max(2, rows // 512))
    return {
        "ROWS": rows,
        "BITS": n.bit_length() - 1,
        "FLIP": flip,
        "num_warps": warps,
        "enable_fp_fusion": False,  # a fused multiply-add rounds otherwise than the reference
    }


@triton.jit(do_not_specialize=["k0", "k1"])
@no_type_check
def _write(
    out, base, x, d, first, rows, table, k0, k1,
    ROWS: tl.constexpr, BITS: tl.constexpr, FLIP: tl.constexpr,
):  # fmt: skip
    start = tl.program_id(0).to(tl.int64) * ROWS
    places = tl.arange(0, ROWS) % (1 << BITS)
    drawn = half_words(k0, k1, (first + start) // HALVES + tl.arange(0, ROWS // HALVES))
    v = tl.load(x + places, mask=places < d, other=0)
    if FLIP:
        v = signed(v, drawn)
    order = _order(k0, k1, first + start, ROWS, BITS, False)
    mixed = tl.gather(hadamard(v, 0, BITS), order, 0)
    w = hadamard(mixed * normals(drawn, table, v.dtype), 0, BITS)
    at = start + tl.arange(0, ROWS)
    before = tl.load(base + at, mask=at < rows)
    tl.store(out + at, (before.to(w.dtype) + w).to(out.dtype.element_ty), mask=at < rows)


@triton.jit(do_not_specialize=["k0", "k1"])
@no_type_check
def _pull_back(
    grad, sums, first, rows, table, k0, k1,
    ROWS: tl.constexpr, BITS: tl.constexpr, FLIP: tl.constexpr,
):  # fmt: skip
    N: tl.constexpr = 1 << BITS
    total = tl.zeros((ROWS,), sums.dtype.element_ty)
    start = tl.program_id(0).to(tl.int64) * ROWS
    while start < rows:
        at = start + tl.arange(0, ROWS)
        g = tl.load(grad + at, mask=at < rows, other=0).to(total.dtype)
        # Embedding rows that the batch did not touch have zero gradient.
        if tl.max((g != 0).to(tl.int32), 0) != 0:
            drawn = half_words(k0, k1, (first + start) // HALVES + tl.arange(0, ROWS // HALVES))
            w = hadamard(g, 0, BITS) * normals(drawn, table, g.dtype)
            u = tl.gather(w, _order(k0, k1, first + start, ROWS, BITS, True), 0)
            u = hadamard(u, 0, BITS)
            if FLIP:
                u = signed(u, drawn)
            total += u
        start += tl.num_programs(0).to(tl.int64) * ROWS
    total = tl.sum(tl.reshape(total, (ROWS // N, N)), 0)
    tl.store(sums + tl.program_id(0) * N + tl.arange(0, N), total)


@triton.jit
@no_type_check
def _order(k0, k1, start, ROWS: tl.constexpr, BITS: tl.constexpr, INVERSE: tl.constexpr):
    """Draws from where in a program's blocks Pi, or its transpose, takes the numbers."""
    blocks = tl.arange(0, ROWS >> BITS)[:, None]
    places = tl.arange(0, 1 << BITS)[None, :]
    order = permuted(k0, k1, (start >> BITS) + blocks, places, BITS, INVERSE)
    return tl.reshape((blocks << BITS) + order, (ROWS,))
