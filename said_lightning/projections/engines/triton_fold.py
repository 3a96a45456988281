"""How sums and cut blocks of fastfood meet theta: B x folded to a block's order, the transpose."""

from typing import no_type_check

import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections.engines.triton_random import signed
from said_lightning.projections.engines.triton_runs import (
    GROUP,
    K0,
    K1,
    POSITION,
    SPAN,
    WIDTH,
    Spans,
    Table,
)
from said_lightning.projections.engines.triton_tiles import halves, places

TILE = 12  # bits of a program's numbers
NEAR = 4  # bits of its columns at least: the 8 numbers of a counter are neighbours


def fold(
    x: Float[Tensor, "groups n"], r: int, table: Table, scale: Float[Tensor, ""]
) -> Float[Tensor, "runs r"]:
    """Add the halves of each run's B x, x being its group's times scale, until r are left.

    They are added in the reference's order.
    """
    n, first = x.shape[1], True
    while n > r:
        high = min(TILE - NEAR, (n // r).bit_length() - 1)
        left = n >> high
        columns = min(TILE - high, left.bit_length() - 1)
        y = x.new_empty((len(table.rows), left))
        tile = {"HIGH": high, "COLUMNS": columns, "STRIDE": left.bit_length() - 1}
        grid = (left >> columns, len(y))
        _fold[grid](x, y, table.rows, scale, IS_FIRST=first, **tile)
        x, n, first = y, left, False
    return x


def unfold(
    z: Float[Tensor, "runs r"],
    table: Table,
    n: int,
    spans: Spans,
    scale: Float[Tensor, ""],
    sums: Float[Tensor, "groups d"],
) -> None:
    """Add scale times B times each run's z, repeated to n numbers, to its group's row of sums.

    With the sum this is the transpose of `fold`.
    """
    d, bits = sums.shape[1], min(TILE, n.bit_length() - 1)
    tile = {"HIGH": 0, "COLUMNS": bits, "STRIDE": bits}
    grid = (-(-d >> bits), len(spans.groups))
    _unfold[grid](z, z.shape[1], spans.groups, table.rows, scale, sums, d, **tile)


def add_up(
    programs: Float[Tensor, "programs n"],
    spans: Spans,
    scale: Float[Tensor, ""],
    sums: Float[Tensor, "groups d"],
) -> None:
    """Add scale times the sum of each group's programs to its row of sums, in a fixed order."""
    n, d = programs.shape[1], sums.shape[1]
    columns = min(32, n)
    grid = (-(-d // columns), len(spans.groups))
    _add_up[grid](programs, n, spans.groups, scale, sums, d, COLUMNS=columns, ROWS=64)


@triton.jit
@no_type_check
def _fold(
    x, y, table, scale,
    IS_FIRST: tl.constexpr, HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    number = tl.program_id(1).to(tl.int64)
    run = table + number * WIDTH
    at = places(1, HIGH, COLUMNS, STRIDE)
    row = tl.load(run + GROUP) if IS_FIRST else number
    v = tl.load(x + (row << (STRIDE + HIGH)) + at)
    if IS_FIRST:
        k0, k1, first = tl.load(run + K0), tl.load(run + K1), tl.load(run + POSITION)
        v = signed(v * tl.load(scale), halves(k0, k1, first, HIGH, COLUMNS, STRIDE))
    for _ in tl.static_range(HIGH):
        one, other = tl.split(tl.trans(tl.reshape(v, (2, v.numel // 2)), (1, 0)))
        v = one + other
    left = y + number * (1 << STRIDE) + (tl.program_id(0) << COLUMNS)
    tl.store(left + tl.arange(0, 1 << COLUMNS), v)


@triton.jit(do_not_specialize=["r", "d"])
@no_type_check
def _unfold(
    z, r, groups, table, scale, sums, d,
    HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    span = groups + tl.program_id(1) * SPAN
    at = places(1, HIGH, COLUMNS, STRIDE)
    total = tl.zeros((1 << COLUMNS,), sums.dtype.element_ty)
    for number in range(tl.load(span), tl.load(span + 1)):
        run = table + number * WIDTH
        k0, k1, first = tl.load(run + K0), tl.load(run + K1), tl.load(run + POSITION)
        drawn = halves(k0, k1, first, HIGH, COLUMNS, STRIDE)
        total += signed(tl.load(z + number * r + at % r).to(total.dtype), drawn)
    _add(sums + tl.load(span + 2) * d, at, d, total, scale)


@triton.jit(do_not_specialize=["d"])
@no_type_check
def _add_up(programs, n, groups, scale, sums, d, COLUMNS: tl.constexpr, ROWS: tl.constexpr):
    span = groups + tl.program_id(1) * SPAN
    at = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), sums.dtype.element_ty)
    last = tl.load(span + 1)
    for begin in range(tl.load(span), last, ROWS):
        row = begin + tl.arange(0, ROWS)[:, None]
        total += tl.load(programs + row * n + at[None, :], mask=row < last, other=0)
    _add(sums + tl.load(span + 2) * d, at, d, tl.sum(total, 0), scale)


@triton.jit
@no_type_check
def _add(row, at, d, total, scale):
    before = tl.load(row + at, mask=at < d, other=0)
    tl.store(row + at, before + total * tl.load(scale), mask=at < d)
