"""The draws of `core.random` and of fastfood as Triton functions, equal to them bit for bit."""

from functools import cache
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections import fastfood
from said_lightning.projections.core import random

M0, M1 = (tl.constexpr(multiplier) for multiplier in random.MULTIPLIERS)
W0, W1 = (tl.constexpr(constant) for constant in random.WEYL)
PHILOX_ROUNDS = tl.constexpr(random.ROUNDS)
STREAM_ROWS = tl.constexpr(random.STREAM_ROWS)
HALVES = tl.constexpr(random.HALVES)
QUANTILES = tl.constexpr(random.QUANTILES)
NORMAL_SIGN, SIGN = tl.constexpr(random.NORMAL_SIGN), tl.constexpr(random.SIGN)
BANK_BITS = tl.constexpr(fastfood.BANK.bit_length() - 1)
STEP, STEP_BITS = tl.constexpr(fastfood.SMALLEST), tl.constexpr(fastfood.SMALLEST.bit_length() - 1)


@cache
def magnitudes(device: torch.device) -> Float[Tensor, " quantiles"]:
    """Return the magnitudes of normals on a device."""
    return torch.from_numpy(random.quantile_table()).to(device)


@triton.jit
@no_type_check
def philox(k0, k1, position, stream):
    """Draw the four 32-bit words of the 64-bit positions of a stream."""
    position = position.to(tl.int64)
    c0, c1 = position.to(tl.uint32), (position >> 32).to(tl.uint32)
    c2, c3 = tl.zeros_like(c0) + stream, tl.zeros_like(c0)
    k0, k1 = k0.to(tl.uint32), k1.to(tl.uint32)
    for _ in tl.static_range(PHILOX_ROUNDS):
        # A 64-bit product of 32-bit factors is one instruction that gives both halves.
        p0, p1 = c0.to(tl.uint64) * M0, c2.to(tl.uint64) * M1
        c0, c1 = (p1 >> 32).to(tl.uint32) ^ c1 ^ k0, p1.to(tl.uint32)
        c2, c3 = (p0 >> 32).to(tl.uint32) ^ c3 ^ k1, p0.to(tl.uint32)
        k0, k1 = k0 + W0, k1 + W1
    return c0, c1, c2, c3


@triton.jit
@no_type_check
def half_words(k0, k1, counters):
    """Draw the 16-bit numbers of a row of counters, eight of each, as one row."""
    w0, w1, w2, w3 = philox(k0, k1, counters, STREAM_ROWS)
    words = tl.join(tl.join(w0, w2), tl.join(w1, w3))
    return tl.reshape(tl.join(words & 0xFFFF, words >> 16), (counters.numel * HALVES,))


@triton.jit
@no_type_check
def signed(x, halves):
    """Return B x, the numbers with the signs of their half-words."""
    return tl.where((halves >> SIGN) & 1 != 0, -x, x)


@triton.jit
@no_type_check
def normals(halves, table, dtype: tl.constexpr):
    """Return G, the standard normals of half-words."""
    magnitude = tl.load(table + (halves & (QUANTILES - 1))).to(dtype)
    return tl.where((halves >> NORMAL_SIGN) & 1 != 0, -magnitude, magnitude)


@triton.jit
@no_type_check
def variants(k0, k1, block, BITS: tl.constexpr):
    """Return where the sigma of blocks begins in the bank of order 2^BITS, and their c and a."""
    OFFSETS: tl.constexpr = (BITS if BITS > BANK_BITS else BANK_BITS) - STEP_BITS
    drawn = k0.to(tl.uint32) + block.to(tl.uint32) * (k1.to(tl.uint32) | 1)
    offset = (drawn >> (32 - OFFSETS)) << STEP_BITS
    factor = tl.zeros_like(drawn) + 1
    if BITS > STEP_BITS:
        factor = ((drawn << OFFSETS) >> (32 - BITS + STEP_BITS)) | 1
    return (offset >> BITS) << BITS, offset % (1 << BITS), factor


@triton.jit
@no_type_check
def permuted(bank, k0, k1, block, places, BITS: tl.constexpr):
    """Return from where Pi takes the numbers of places (rows, columns) of blocks (rows, 1)."""
    begin, turn, factor = variants(k0, k1, block, BITS)
    # By % and //, unlike & and >>, the compiler sees that neighbours stay neighbours.
    group, rest = places // STEP, places % STEP
    place = ((group.to(tl.uint32) * factor) << STEP_BITS) + turn
    return tl.load(bank + (begin + place % (1 << BITS) + rest)).to(tl.int32)


@triton.jit
@no_type_check
def permuted_back(inverse_bank, k0, k1, block, places, BITS: tl.constexpr):
    """Return from where the transpose of Pi takes its numbers."""
    begin, turn, factor = variants(k0, k1, block, BITS)
    inverse = factor  # modulo 8; each step doubles the bits that are right
    for _ in tl.static_range(3):
        inverse *= 2 - factor * inverse
    inverse = inverse.to(tl.int32)
    place = tl.load(inverse_bank + (begin + places)).to(tl.int32)
    group = (place & -STEP) * inverse - turn.to(tl.int32) * inverse
    return (group | (place & (STEP - 1))) & ((1 << BITS) - 1)
