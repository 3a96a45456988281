"""The draws of `core.random` as Triton functions, equal to them bit for bit."""

from typing import no_type_check

import triton
import triton.language as tl
from torch import Tensor

from said_lightning.projections.core import random

Draws = tuple[Tensor, int, int]  # what kernels draw from: the magnitudes, and the two key words

M0, M1 = (tl.constexpr(multiplier) for multiplier in random.MULTIPLIERS)
W0, W1 = (tl.constexpr(constant) for constant in random.WEYL)
STREAM_ROWS = tl.constexpr(random.STREAM_ROWS)
STREAM_PERMUTATION = tl.constexpr(random.STREAM_PERMUTATION)
COUNTERS = tl.constexpr(random.COUNTERS)
HALVES = tl.constexpr(random.HALVES)
QUANTILES = tl.constexpr(random.QUANTILES)
FEW_ROUNDS, MANY_ROUNDS = (tl.constexpr(random.rounds(n)) for n in (64, 16))
NORMAL_SIGN, SIGN = tl.constexpr(random.NORMAL_SIGN), tl.constexpr(random.SIGN)


@triton.jit
@no_type_check
def philox(k0, k1, position, stream: tl.constexpr):
    """Draw the four 32-bit words of the 64-bit positions of a stream."""
    position = position.to(tl.int64)
    c0, c1 = position.to(tl.uint32), (position >> 32).to(tl.uint32)
    c2, c3 = tl.zeros_like(c0) + stream, tl.zeros_like(c0)
    k0, k1 = k0.to(tl.uint32), k1.to(tl.uint32)
    for _ in tl.static_range(10):
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
def permuted(k0, k1, block, places, BITS: tl.constexpr, INVERSE: tl.constexpr):
    """Permute places 0 to 2^BITS - 1 (rows, columns) of blocks (rows, 1), or back."""
    first = block * COUNTERS
    words = (
        philox(k0, k1, first, STREAM_PERMUTATION)
        + philox(k0, k1, first + 1, STREAM_PERMUTATION)
        + philox(k0, k1, first + 2, STREAM_PERMUTATION)
    )
    ROUNDS: tl.constexpr = MANY_ROUNDS if BITS < 6 else FEW_ROUNDS
    # In the top bits of a word a number wraps by itself.
    UP: tl.constexpr = 32 - BITS
    x = places.to(tl.uint32) << UP
    if INVERSE:
        for index in tl.static_range(ROUNDS - 1, -1, -1):
            a, c = _key(words, index, BITS)
            x = (_mixed(x, a, c, BITS) - (c << UP)) * _inverse(a | 1)
    else:
        for index in tl.static_range(ROUNDS):
            a, c = _key(words, index, BITS)
            x = _mixed(x * (a | 1) + (c << UP), a, c, BITS)
    return (x >> UP).to(tl.int32)


@triton.jit
@no_type_check
def _key(words, index: tl.constexpr, BITS: tl.constexpr):
    if BITS > 16:
        a, c = words[2 * index], words[2 * index + 1]
    else:
        a, c = words[index] & 0xFFFF, words[index] >> 16
    return a, c


@triton.jit
@no_type_check
def _mixed(x, a, c, BITS: tl.constexpr):
    """XORs the low half of the bits with a hash of the high half: its own inverse."""
    LOW: tl.constexpr = BITS // 2
    # Sums of 16 bits wrap in the top half of a word.
    WRAP: tl.constexpr = 0 if BITS > 16 else 16
    MASK: tl.constexpr = (1 << 32) - (1 << (32 - BITS))
    hashed = (x >> (32 - BITS + LOW)) * ((c | 1) << WRAP) + (a << WRAP)
    return x ^ ((hashed >> (BITS - LOW)) & MASK)


@triton.jit
@no_type_check
def _inverse(odd):
    """Invert odd numbers modulo 2^32: each step doubles the five bits that hold."""
    x = (odd * 3) ^ 2
    for _ in tl.static_range(3):
        x *= 2 - odd * x
    return x
