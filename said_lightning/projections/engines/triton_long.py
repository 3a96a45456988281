"""Fastfood's blocks that are too long for one program, in passes through a scratch.

A near pass does the butterflies of strides below 4,096, a far pass the others. Between passes the
numbers lie in two buffers, short enough to stay in a GPU's second cache. Strides ascend as in the
reference, so that `write` gives its bits here too.
"""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections.engines.triton_hadamard import hadamard
from said_lightning.projections.engines.triton_random import HALVES, normals, permuted, signed
from said_lightning.projections.engines.triton_tiles import block, halves, places

BUFFER = 2**22  # rows of a call, or one block: 16 MB a buffer
# What kernels draw from: the magnitudes, the bank of permutations and the two key words.
Draws = tuple[Tensor, Tensor, int, int]
NEAR = 12  # bits of a place in a block that near butterflies run over


def write(
    out: Float[Tensor, " rows"],
    base: Float[Tensor, " rows"],
    x: Float[Tensor, " n"],
    n: int,
    flip: bool,
    first: int,
    draws: Draws,
) -> None:
    """Set out = base + H G Pi H B x for blocks of order n, without B where not `flip`.

    `first` is the position of the first row's draws.
    """
    rows, (table, bank, *key) = len(out), draws
    blocks = triton.cdiv(rows, n)
    u, w = x.new_empty((2, blocks, n))
    _run(n, _flip, _near(n), blocks, x, u, first, *key, flip)
    _run(n, _again, _far(n), blocks, u, None)
    _run(n, _mix, _near(n), blocks, u, w, first, table, bank, *key)
    _run(n, _add, _far(n), blocks, w, base, out, rows)


def pull_back(
    grad: Float[Tensor, " rows"], n: int, flip: bool, first: int, draws: Draws
) -> Float[Tensor, " n"]:
    """Return the sum of B H Pi^T G H grad over the blocks, in float64; no B where not `flip`."""
    rows, (table, bank, *key) = len(grad), draws
    blocks = triton.cdiv(rows, n)
    w = grad.new_empty((blocks, n), dtype=torch.promote_types(grad.dtype, torch.float32))
    u = torch.zeros_like(w)
    # Embedding rows that the batch did not touch have zero gradient: their blocks stay zero.
    touched = grad.new_zeros(blocks, dtype=torch.int32)
    _run(n, _read, _near(n), blocks, grad, w, touched, rows)
    _run(n, _scatter, _far(n), blocks, w, u, touched, first, table, bank, *key)
    _run(n, _again, _near(n), blocks, u, touched)
    _run(n, _flip_back, _far(n), blocks, u, touched, first, *key, flip)
    return u.sum(0, dtype=torch.float64)


def _near(order: int) -> tuple[int, dict[str, int]]:
    """Return the programs of a block in a near pass, and their tile: neighbours."""
    bits = _log2(order)
    near = min(NEAR, bits)
    return 1 << (bits - near), {"FIRST": 0, "HIGH": 0, "COLUMNS": near, "STRIDE": near}


def _far(order: int) -> tuple[int, dict[str, int]]:
    """Return the programs of a block in a far pass, and their tile: columns of rows of 4,096.

    A tile has 4,096 numbers too, where that leaves it the 8 columns of a counter.
    """
    bits = _log2(order)
    near = min(NEAR, bits)
    columns = max(_log2(HALVES.value), 2 * near - bits)
    tile = {"FIRST": columns, "HIGH": bits - near, "COLUMNS": columns, "STRIDE": near}
    return 1 << (near - columns), tile


def _log2(order: int) -> int:
    return order.bit_length() - 1


def _run(n: int, kernel: Any, tiles: tuple[int, dict[str, int]], blocks: int, *given: Any) -> None:
    """Launch a pass over blocks of n numbers."""
    programs, tile = tiles
    options = {"BITS": _log2(n), "num_warps": 8, "enable_fp_fusion": False}
    kernel[(programs, blocks)](*given, **tile, **options)


@triton.jit(do_not_specialize=["k0", "k1"])
@no_type_check
def _flip(
    x, u, first, k0, k1, FLIP: tl.constexpr,
    FIRST: tl.constexpr, HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr,
    BITS: tl.constexpr,
):  # fmt: skip
    """u = H B x."""
    at = places(1, HIGH, COLUMNS, STRIDE)
    v = tl.load(x + at)
    if FLIP:
        v = signed(v, halves(k0, k1, first + block(BITS), HIGH, COLUMNS, STRIDE))
    tl.store(u + block(BITS) + at, hadamard(v, FIRST, HIGH + COLUMNS))


@triton.jit
@no_type_check
def _again(
    u, touched,
    FIRST: tl.constexpr, HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr,
    BITS: tl.constexpr,
):  # fmt: skip
    """u = H u, in place."""
    if touched is None or tl.load(touched + tl.program_id(1)) != 0:
        at = u + block(BITS) + places(1, HIGH, COLUMNS, STRIDE)
        tl.store(at, hadamard(tl.load(at), FIRST, HIGH + COLUMNS))


@triton.jit(do_not_specialize=["k0", "k1"])
@no_type_check
def _mix(
    u, w, first, table, bank, k0, k1,
    FIRST: tl.constexpr, HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr,
    BITS: tl.constexpr,
):  # fmt: skip
    """w = H G Pi u."""
    at = places(1, HIGH, COLUMNS, STRIDE)
    drawn = halves(k0, k1, first + block(BITS), HIGH, COLUMNS, STRIDE)
    order = _order(bank, k0, k1, first, at, BITS)
    v = tl.load(u + block(BITS) + order) * normals(drawn, table, u.dtype.element_ty)
    tl.store(w + block(BITS) + at, hadamard(v, FIRST, HIGH + COLUMNS))


@triton.jit
@no_type_check
def _add(
    w, base, out, rows,
    FIRST: tl.constexpr, HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr,
    BITS: tl.constexpr,
):  # fmt: skip
    """out = base + H w."""
    at = block(BITS) + places(1, HIGH, COLUMNS, STRIDE)
    v = hadamard(tl.load(w + at), FIRST, HIGH + COLUMNS)
    before = tl.load(base + at, mask=at < rows)
    tl.store(out + at, (before.to(v.dtype) + v).to(out.dtype.element_ty), mask=at < rows)


@triton.jit
@no_type_check
def _read(
    grad, w, touched, rows,
    FIRST: tl.constexpr, HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr,
    BITS: tl.constexpr,
):  # fmt: skip
    """w = H grad; counts the programs of a block that read other than zeros."""
    at = block(BITS) + places(1, HIGH, COLUMNS, STRIDE)
    g = tl.load(grad + at, mask=at < rows, other=0).to(w.dtype.element_ty)
    if tl.max((g != 0).to(tl.int32), 0) != 0:
        tl.atomic_add(touched + tl.program_id(1), 1)
    tl.store(w + at, hadamard(g, FIRST, HIGH + COLUMNS))


@triton.jit(do_not_specialize=["k0", "k1"])
@no_type_check
def _scatter(
    w, u, touched, first, table, bank, k0, k1,
    FIRST: tl.constexpr, HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr,
    BITS: tl.constexpr,
):  # fmt: skip
    """u = Pi^T G H w."""
    if tl.load(touched + tl.program_id(1)) != 0:
        at = places(1, HIGH, COLUMNS, STRIDE)
        drawn = halves(k0, k1, first + block(BITS), HIGH, COLUMNS, STRIDE)
        v = hadamard(tl.load(w + block(BITS) + at), FIRST, HIGH + COLUMNS)
        order = _order(bank, k0, k1, first, at, BITS)
        tl.store(u + block(BITS) + order, v * normals(drawn, table, v.dtype))


@triton.jit(do_not_specialize=["k0", "k1"])
@no_type_check
def _flip_back(
    u, touched, first, k0, k1, FLIP: tl.constexpr,
    FIRST: tl.constexpr, HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr,
    BITS: tl.constexpr,
):  # fmt: skip
    """u = B H u, in place."""
    if tl.load(touched + tl.program_id(1)) != 0:
        at = u + block(BITS) + places(1, HIGH, COLUMNS, STRIDE)
        v = hadamard(tl.load(at), FIRST, HIGH + COLUMNS)
        if FLIP:
            v = signed(v, halves(k0, k1, first + block(BITS), HIGH, COLUMNS, STRIDE))
        tl.store(at, v)


@triton.jit
@no_type_check
def _order(bank, k0, k1, first, places, BITS: tl.constexpr):
    """Return from where in its block Pi takes the numbers of some places."""
    index = tl.full((1, 1), 0, tl.int64) + ((first + block(BITS)) >> BITS)
    return tl.reshape(permuted(bank, k0, k1, index, places[None, :], BITS), (places.numel,))
