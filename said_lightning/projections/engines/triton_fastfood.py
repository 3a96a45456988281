"""Fastfood's kernels on a GPU, for tiles of whole blocks of up to 2^14 rows."""

from typing import no_type_check

import triton
import triton.language as tl

from said_lightning.projections.engines.triton_hadamard import hadamard
from said_lightning.projections.engines.triton_random import (
    HALVES,
    half_words,
    normals,
    permuted,
    permuted_back,
    signed,
)
from said_lightning.projections.engines.triton_runs import (
    BEGIN,
    GROUP,
    K0,
    K1,
    POSITION,
    SPAN,
    numbers,
    rows_of,
    run_of,
)


@triton.jit
@no_type_check
def write(
    table, owners, addresses, x, scale, magnitudes, bank, OUT: tl.constexpr, BASE: tl.constexpr,
    TILE: tl.constexpr, BITS: tl.constexpr, FLIP: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    """Set out = base + H G Pi H B x in a program's tile.

    x is its group's, times scale; B x is its run's, scaled and folded, where not FLIP.
    """
    tile = tl.program_id(0).to(tl.int64)
    run = run_of(table, owners, tile)
    k0, k1, rows = tl.load(run + K0), tl.load(run + K1), rows_of(run, ALIGNED)
    out = numbers(run, addresses, 0, 2, OUT, ALIGNED)
    base = numbers(run, addresses, 1, 2, BASE, ALIGNED)
    start = (tile - tl.load(run + BEGIN)) * TILE
    position = tl.load(run + POSITION) + start
    drawn = half_words(k0, k1, position // HALVES + tl.arange(0, TILE // HALVES))
    row = tl.load(run + GROUP) if FLIP else tile
    v = tl.load(x + (row << BITS) + tl.arange(0, TILE) % (1 << BITS))
    if FLIP:
        v = signed(v * tl.load(scale), drawn)
    blocks, places = _blocks(TILE, BITS), tl.arange(0, 1 << BITS)[None, :]
    order = permuted(bank, k0, k1, (position >> BITS) + blocks, places, BITS)
    order = tl.reshape((blocks << BITS) + order, (TILE,))
    mixed = tl.gather(hadamard(v, 0, BITS), order, 0)
    w = hadamard(mixed * normals(drawn, magnitudes, v.dtype), 0, BITS)
    at = start + tl.arange(0, TILE)
    before = tl.load(base + at, mask=at < rows)
    tl.store(out + at, (before.to(w.dtype) + w).to(OUT), mask=at < rows)


@triton.jit
@no_type_check
def pull_back(
    table, owners, addresses, spans, sums, magnitudes, inverse_bank, GRAD: tl.constexpr,
    TILE: tl.constexpr, BITS: tl.constexpr, FLIP: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    """Set a program's row of sums to the sum of B H Pi^T G H grad over its tiles.

    B is left out where not FLIP.
    """
    N: tl.constexpr = 1 << BITS
    # Of a long block registers hold no more than one copy.
    IN_MEMORY: tl.constexpr = BITS > 12
    own = sums + tl.program_id(0) * N + tl.arange(0, N)
    span = spans + tl.program_id(0) * SPAN
    tile, stop, step = tl.load(span), tl.load(span + 1), tl.load(span + 2)
    total = tl.zeros((TILE,), sums.dtype.element_ty)
    if IN_MEMORY:
        tl.store(own, total)
        tl.debug_barrier()
    while tile < stop:
        run = run_of(table, owners, tile)
        rows, grad = rows_of(run, ALIGNED), numbers(run, addresses, 0, 1, GRAD, ALIGNED)
        start = (tile - tl.load(run + BEGIN)) * TILE
        at = start + tl.arange(0, TILE)
        g = tl.load(grad + at, mask=at < rows, other=0).to(sums.dtype.element_ty)
        # Embedding rows that the batch did not touch have zero gradient.
        if tl.max((g != 0).to(tl.int32), 0) != 0:
            position = tl.load(run + POSITION) + start
            u = _back(g, run, position, magnitudes, inverse_bank, TILE, BITS, FLIP, IN_MEMORY)
            if IN_MEMORY:
                tl.store(own, tl.load(own) + u)
            else:
                total += u
        tile += step
    if not IN_MEMORY:
        tl.store(own, tl.sum(tl.reshape(total, (TILE // N, N)), 0))


@triton.jit
@no_type_check
def _back(
    g, run, position, magnitudes, inverse_bank,
    TILE: tl.constexpr, BITS: tl.constexpr, FLIP: tl.constexpr, FRUGAL: tl.constexpr,
):  # fmt: skip
    """Return B H Pi^T G H g, without B where not FLIP; FRUGAL spares registers, not time."""
    k0, k1 = tl.load(run + K0), tl.load(run + K1)
    drawn = half_words(k0, k1, position // HALVES + tl.arange(0, TILE // HALVES))
    w = hadamard(g, 0, BITS) * normals(drawn, magnitudes, g.dtype)
    if FRUGAL:
        tl.debug_barrier()  # or Pi's numbers would be loaded, and held, before
    blocks, places = _blocks(TILE, BITS), tl.arange(0, 1 << BITS)[None, :]
    order = permuted_back(inverse_bank, k0, k1, (position >> BITS) + blocks, places, BITS)
    u = hadamard(tl.gather(w, tl.reshape((blocks << BITS) + order, (TILE,)), 0), 0, BITS)
    if FLIP:
        if FRUGAL:  # drawn again, rather than kept in registers all along
            k0 = tl.load(run + K0, volatile=True)
            drawn = half_words(k0, k1, position // HALVES + tl.arange(0, TILE // HALVES))
        u = signed(u, drawn)
    return u


@triton.jit
@no_type_check
def _blocks(TILE: tl.constexpr, BITS: tl.constexpr):
    """Return the numbers of a tile's blocks, as a column."""
    return tl.arange(0, TILE >> BITS)[:, None]
