"""How a cut block of fastfood meets theta: B x folded to the block's order, and the transpose."""

from typing import no_type_check

import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections.engines.triton_random import Draws, signed
from said_lightning.projections.engines.triton_tiles import halves, places

TILE = 12  # bits of a program's numbers
COLUMNS = 4  # bits of its columns at least: the 8 numbers of a counter are neighbours


def fold(x: Float[Tensor, " d"], n: int, r: int, first: int, draws: Draws) -> Float[Tensor, " r"]:
    """Adds the halves of B x, padded to n numbers, until r are left, in the reference's order."""
    _, *key = draws
    flip = True
    while n > r:
        high = min(TILE - COLUMNS, (n // r).bit_length() - 1)
        left = n >> high
        columns = min(TILE - high, left.bit_length() - 1)
        y = x.new_empty(left)
        tile = {"HIGH": high, "COLUMNS": columns, "STRIDE": left.bit_length() - 1}
        _fold[(left >> columns,)](x, len(x), y, first, *key, FLIP=flip, **tile)
        x, n, flip = y, left, False
    return x


def unfold(z: Float[Tensor, " r"], n: int, first: int, draws: Draws) -> Float[Tensor, " n"]:
    """Gives B times z repeated to n numbers: the transpose of `fold`."""
    _, *key = draws
    v = z.new_empty(n)
    bits = min(TILE, n.bit_length() - 1)
    tile = {"HIGH": 0, "COLUMNS": bits, "STRIDE": bits}
    _unfold[(n >> bits,)](z, len(z), v, first, *key, **tile)
    return v


@triton.jit(do_not_specialize=["k0", "k1"])
@no_type_check
def _fold(
    x, d, y, first, k0, k1,
    FLIP: tl.constexpr, HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    at = places(1, HIGH, COLUMNS, STRIDE)
    v = tl.load(x + at, mask=at < d, other=0)
    if FLIP:
        v = signed(v, halves(k0, k1, first, HIGH, COLUMNS, STRIDE, 0))
    for _ in tl.static_range(HIGH):
        one, other = tl.split(tl.trans(tl.reshape(v, (2, v.numel // 2)), (1, 0)))
        v = one + other
    tl.store(y + (tl.program_id(0) << COLUMNS) + tl.arange(0, 1 << COLUMNS), v)


@triton.jit(do_not_specialize=["k0", "k1"])
@no_type_check
def _unfold(
    z, r, v, first, k0, k1,
    HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    at = places(1, HIGH, COLUMNS, STRIDE)
    drawn = halves(k0, k1, first, HIGH, COLUMNS, STRIDE, 0)
    tl.store(v + at, signed(tl.load(z + at % r), drawn))
