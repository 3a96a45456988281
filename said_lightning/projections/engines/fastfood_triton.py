"""Fastfood on a GPU: one fused pass over many tensors, all randomness on the fly.

A program reads a tile of rows, transforms it in registers and shared memory and writes it; nothing
of a tensor's length is allocated. `write` adds in the reference's order and gives its bits;
`pull_back` adds in a fixed order and gives the same bits every time. Blocks that are too long for
one program are left to `triton_long`.
"""

from collections.abc import Iterator, Sequence
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
    half_words,
    normals,
    permuted,
    signed,
)
from said_lightning.projections.engines.triton_runs import (
    BEGIN,
    K0,
    K1,
    POSITION,
    SUMS,
    Part,
    Run,
    Table,
    find,
    numbers,
    rows_of,
    runs_of,
    table_of,
)
from said_lightning.projections.fastfood import Fastfood

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
    """Set out = base + P theta for the rows of a tensor from `start` on, adding in theta's dtype.

    `out` and `base` may be of any floating dtypes, and the same memory.
    """
    _write_parts(projection, [(tensor, out, base)], theta, start)


def write_all(
    projection: Fastfood,
    weights: Sequence[tuple[str, Float[Tensor, " _"], Float[Tensor, " _"]]],
    theta: Float[Tensor, " d"],
) -> None:
    """Set out = base + P theta for many (tensor, out, base)."""
    _write_parts(projection, weights, theta, 0)


def pull_back(
    projection: Fastfood, grad: Float[Tensor, " rows"], tensor: str, start: int
) -> Float[Tensor, " d"]:
    """Return P^T grad for the rows of a tensor from `start` on, in float64, from any dtype.

    Butterflies and a program's sums are in float32, or float64 for float64; the sum over all
    programs is in float64.
    """
    return _pull_back_parts(projection, [(tensor, grad)], start)


def pull_back_all(
    projection: Fastfood, grads: Sequence[tuple[str, Float[Tensor, " _"]]]
) -> Float[Tensor, " d"]:
    """Return the sum of P^T grad over many (tensor, grad), in float64."""
    return _pull_back_parts(projection, grads, 0)


def _write_parts(
    projection: Fastfood, parts: Sequence[Part], theta: Float[Tensor, " d"], start: int
) -> None:
    n = projection.n
    with torch.cuda.device_of(theta):
        for (r, dtypes), runs in runs_of(projection, parts, start).items():
            tile = r if r < n else max(n, TILE)
            table = table_of(runs, tile)
            x = theta * projection.scale(r)
            if r < n:
                x = fold(x, n, r, table.rows)
            if r > LONGEST:
                for (out, base), position, draws, number in _long(runs, r):
                    mine = x if r == n else x[number]
                    triton_long.write(out, base, mine, r, r == n, position, draws)
            else:
                _write_tiles(table, x, r, r == n, tile, dtypes)


def _pull_back_parts(
    projection: Fastfood, parts: Sequence[Part], start: int
) -> Float[Tensor, " d"]:
    n, like = projection.n, parts[0][1]
    v = like.new_zeros(n, dtype=SUMS)
    with torch.cuda.device_of(like):
        for (r, (dtype,)), runs in runs_of(projection, parts, start).items():
            tile = r if r < n else max(n, TILE)
            table = table_of(runs, tile)
            if r <= LONGEST:
                sums = _pull_back_tiles(table, r, r == n, tile, dtype)
            else:
                sums = torch.stack(
                    [
                        triton_long.pull_back(grad, r, r == n, position, draws)
                        for (grad,), position, draws, _ in _long(runs, r)
                    ]
                )
            whole = sums.sum(0, dtype=SUMS) if r == n else unfold(sums, n, table.rows)
            v += whole * projection.scale(r)
    return v[: projection.d]


def _long(runs: Sequence[Run], r: int) -> Iterator[tuple[list[Tensor], int, Any, int]]:
    """Split runs into what one call of `triton_long` can do: rows, position, draws, run."""
    step = max(r, triton_long.BUFFER)
    for number, run in enumerate(runs):
        parts = run.parts()
        draws = (_magnitudes(parts[0].device), *run.key)
        for first in range(0, len(parts[0]), step):
            piece = [part[first : first + step] for part in parts]
            yield piece, run.position + first, draws, number


def _write_tiles(
    table: Table,
    x: Float[Tensor, "... d"],
    r: int,
    flip: bool,
    tile: int,
    dtypes: tuple[torch.dtype, ...],
) -> None:
    out, base = map(_element, dtypes)
    d, stride = x.shape[-1], 0 if x.dim() == 1 else r
    given = (table.rows, len(table.rows), x, d, stride, _magnitudes(x.device))
    _write[(table.tiles,)](*given, OUT=out, BASE=base, **_options(r, flip, tile, table))


def _pull_back_tiles(
    table: Table, r: int, flip: bool, tile: int, dtype: torch.dtype
) -> Float[Tensor, "programs r"]:
    """Return the sum of each program's tiles; where B is a run's own, each has one tile, a run."""
    options = _options(r, flip, tile, table)
    # No more on a larger GPU, so that every GPU adds in the same order.
    programs = min(table.tiles, WARPS // options["num_warps"]) if flip else table.tiles
    wide = torch.promote_types(dtype, torch.float32)
    sums = table.rows.new_empty((programs, r), dtype=wide)
    given = (table.rows, len(table.rows), table.tiles, sums, _magnitudes(sums.device))
    _pull_back[(programs,)](*given, GRAD=_element(dtype), **options)
    return sums


def _element(dtype: torch.dtype) -> Any:
    """Return a dtype as Triton has it."""
    return getattr(tl, str(dtype).removeprefix("torch."))


@cache
def _magnitudes(device: torch.device) -> Tensor:
    return torch.from_numpy(quantile_table()).to(device)


def _options(n: int, flip: bool, tile: int, table: Table) -> dict[str, Any]:
    """Return a launch's constants for blocks of order n, with or without B."""
    # 16 numbers a thread leave registers for several programs on a multiprocessor. With 32 warps a
    # program's threads would have 64 registers each. With a single one Pi would become a shuffle
    # for each 32 numbers of the tile, not one pass through shared memory.
    warps = min(16, max(2, tile // 512))
    return {
        "TILE": tile,
        "BITS": n.bit_length() - 1,
        "FLIP": flip,
        "ALIGNED": table.aligned,
        "num_warps": warps,
        "enable_fp_fusion": False,  # a fused multiply-add rounds otherwise than the reference
    }


@triton.jit(do_not_specialize=["count", "d", "stride"])
@no_type_check
def _write(
    table, count, x, d, stride, magnitudes, OUT: tl.constexpr, BASE: tl.constexpr,
    TILE: tl.constexpr, BITS: tl.constexpr, FLIP: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0).to(tl.int64)
    run = find(table, count, tile)
    k0, k1, rows = tl.load(run + K0), tl.load(run + K1), rows_of(run, ALIGNED)
    out, base = numbers(run, 0, OUT, ALIGNED), numbers(run, 1, BASE, ALIGNED)
    start = (tile - tl.load(run + BEGIN)) * TILE
    position = tl.load(run + POSITION) + start
    places = tl.arange(0, TILE) % (1 << BITS)
    drawn = half_words(k0, k1, position // HALVES + tl.arange(0, TILE // HALVES))
    v = tl.load(x + tile * stride + places, mask=places < d, other=0)
    if FLIP:
        v = signed(v, drawn)
    mixed = tl.gather(hadamard(v, 0, BITS), _order(k0, k1, position, TILE, BITS, False), 0)
    w = hadamard(mixed * normals(drawn, magnitudes, v.dtype), 0, BITS)
    at = start + tl.arange(0, TILE)
    before = tl.load(base + at, mask=at < rows)
    tl.store(out + at, (before.to(w.dtype) + w).to(OUT), mask=at < rows)


@triton.jit(do_not_specialize=["count", "tiles"])
@no_type_check
def _pull_back(
    table, count, tiles, sums, magnitudes, GRAD: tl.constexpr,
    TILE: tl.constexpr, BITS: tl.constexpr, FLIP: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    N: tl.constexpr = 1 << BITS
    total = tl.zeros((TILE,), sums.dtype.element_ty)
    tile = tl.program_id(0).to(tl.int64)
    while tile < tiles:
        run = find(table, count, tile)
        rows, grad = rows_of(run, ALIGNED), numbers(run, 0, GRAD, ALIGNED)
        start = (tile - tl.load(run + BEGIN)) * TILE
        at = start + tl.arange(0, TILE)
        g = tl.load(grad + at, mask=at < rows, other=0).to(total.dtype)
        # Embedding rows that the batch did not touch have zero gradient.
        if tl.max((g != 0).to(tl.int32), 0) != 0:
            k0, k1 = tl.load(run + K0), tl.load(run + K1)
            position = tl.load(run + POSITION) + start
            drawn = half_words(k0, k1, position // HALVES + tl.arange(0, TILE // HALVES))
            w = hadamard(g, 0, BITS) * normals(drawn, magnitudes, g.dtype)
            u = tl.gather(w, _order(k0, k1, position, TILE, BITS, True), 0)
            u = hadamard(u, 0, BITS)
            if FLIP:
                u = signed(u, drawn)
            total += u
        tile += tl.num_programs(0).to(tl.int64)
    total = tl.sum(tl.reshape(total, (TILE // N, N)), 0)
    tl.store(sums + tl.program_id(0) * N + tl.arange(0, N), total)


@triton.jit
@no_type_check
def _order(k0, k1, start, TILE: tl.constexpr, BITS: tl.constexpr, INVERSE: tl.constexpr):
    """Return from where in a program's blocks Pi, or its transpose, takes the numbers."""
    blocks = tl.arange(0, TILE >> BITS)[:, None]
    places = tl.arange(0, 1 << BITS)[None, :]
    order = permuted(k0, k1, (start >> BITS) + blocks, places, BITS, INVERSE)
    return tl.reshape((blocks << BITS) + order, (TILE,))
