"""How cut blocks of fastfood meet theta: B x folded to a block's order, and the transpose."""

from typing import no_type_check

import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from said_lightning.projections.engines import triton_runs
from said_lightning.projections.engines.triton_random import signed
from said_lightning.projections.engines.triton_runs import K0, K1, POSITION
from said_lightning.projections.engines.triton_tiles import halves, places

TILE = 12  # bits of a program's numbers
COLUMNS = 4  # bits of its columns at least: the 8 numbers of a counter are neighbours


def fold(
    x: Float[Tensor, " d"], n: int, r: int, table: Int[Tensor, "runs columns"]
) -> Float[Tensor, "runs r"]:
    """Add the halves of each run's B x, padded to n numbers, until r are left.

    They are added in the reference's order.
    """
    count, stride, flip = len(table), 0, True
    while n > r:
        high = min(TILE - COLUMNS, (n // r).bit_length() - 1)
        left = n >> high
        columns = min(TILE - high, left.bit_length() - 1)
        y = x.new_empty((count, left))
        tile = {"HIGH": high, "COLUMNS": columns, "STRIDE": left.bit_length() - 1}
        _fold[(left >> columns, 1, count)](x, x.shape[-1], stride, y, table, FLIP=flip, **tile)
        x, n, stride, flip = y, left, left, False
    return x


def unfold(
    z: Float[Tensor, "runs r"], n: int, table: Int[Tensor, "runs columns"]
) -> Float[Tensor, " n"]:
    """Return the sum over runs of B times z repeated to n numbers: the transpose of `fold`."""
    v = z.new_empty(n, dtype=triton_runs.SUMS)
    bits = min(TILE, n.bit_length() - 1)
    tile = {"HIGH": 0, "COLUMNS": bits, "STRIDE": bits}
    _unfold[(n >> bits,)](z, z.shape[-1], len(z), v, table, **tile)
    return v


@triton.jit(do_not_specialize=["d", "stride"])
@no_type_check
def _fold(
    x, d, stride, y, table,
    FLIP: tl.constexpr, HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    number = tl.program_id(2).to(tl.int64)
    run = table + number * triton_runs.COLUMNS
    at = places(1, HIGH, COLUMNS, STRIDE)
    v = tl.load(x + number * stride + at, mask=at < d, other=0)
    if FLIP:
        k0, k1, first = tl.load(run + K0), tl.load(run + K1), tl.load(run + POSITION)
        v = signed(v, halves(k0, k1, first, HIGH, COLUMNS, STRIDE, 0))
    for _ in tl.static_range(HIGH):
        one, other = tl.split(tl.trans(tl.reshape(v, (2, v.numel // 2)), (1, 0)))
        v = one + other
    left = y + number * (1 << STRIDE) + (tl.program_id(0) << COLUMNS)
    tl.store(left + tl.arange(0, 1 << COLUMNS), v)


@triton.jit(do_not_specialize=["r", "count"])
@no_type_check
def _unfold(
    z, r, count, v, table,
    HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    at = places(1, HIGH, COLUMNS, STRIDE)
    total = tl.zeros((1 << COLUMNS,), v.dtype.element_ty)
    for number in range(count):
        run = table + number * triton_runs.COLUMNS
        k0, k1, first = tl.load(run + K0), tl.load(run + K1), tl.load(run + POSITION)
        drawn = halves(k0, k1, first, HIGH, COLUMNS, STRIDE, 0)
        total += signed(tl.load(z + number * r + at % r).to(total.dtype), drawn)
    tl.store(v + at, total)
