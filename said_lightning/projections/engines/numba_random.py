"""The draws of `core.random` for the numba engines, equal to them bit for bit."""

from typing import Any, no_type_check

import numpy as np
from llvmlite import ir
from numba import njit, uint32, uint64

from said_lightning.projections.core.random import (
    HALVES,
    MULTIPLIERS,
    NORMAL_SIGN,
    QUANTILES,
    ROUNDS,
    WEYL,
)
from said_lightning.projections.engines.numba_vector import Memory, Vector, constants, spread, tile

DRAWN = 256  # half-words of a tile: 32 counters in 64-bit lanes
MASK = 0xFFFFFFFF
M0, M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
W0, W1 = np.uint32(WEYL[0]), np.uint32(WEYL[1])
LOW, HIGH = np.uint64(MASK), np.uint64(32)


@njit
@no_type_check
def philox(k0, k1, position, stream):
    """Draw the four 32-bit words of a 64-bit position of a stream."""
    c0, c1, c2, c3 = uint64(position) & LOW, uint64(position) >> HIGH, uint64(stream), uint64(0)
    for _ in range(ROUNDS):
        p0, p1 = c0 * M0, c2 * M1
        c0, c2 = (p1 >> HIGH) ^ c1 ^ uint64(k0), (p0 >> HIGH) ^ c3 ^ uint64(k1)
        c1, c3 = p1 & LOW, p0 & LOW
        k0, k1 = uint32(k0 + W0), uint32(k1 + W1)
    return uint32(c0), uint32(c1), uint32(c2), uint32(c3)


@tile
def _draw(builder: Any, k0: Any, k1: Any, counter: Any, stream: Any, out: Memory, at: Any) -> None:
    """Write the half-words of 32 counters. Above its 32 bits a lane holds what is never read."""
    word, lanes = ir.IntType(64), DRAWN // HALVES
    # Counters 0 to 3 in the even lanes, 4 to 7 in the odd ones, so that pairing their words at the
    # end is one instruction a vector.
    order = [group + lane // 2 + lane % 2 * 4 for group in range(0, lanes, 8) for lane in range(8)]
    c0 = constants(builder, word, order) + counter
    c1, c2, c3 = c0 >> 32, spread(builder, stream, lanes), constants(builder, word, [0] * lanes)
    for _ in range(ROUNDS):
        p0, p1 = (c0 & MASK) * MULTIPLIERS[0], (c2 & MASK) * MULTIPLIERS[1]
        c0, c2 = (p1 >> 32) ^ c1 ^ builder.zext(k0, word), (p0 >> 32) ^ c3 ^ builder.zext(k1, word)
        c1, c3 = p1, p0
        k0 = builder.add(k0, ir.Constant(k0.type, WEYL[0]))
        k1 = builder.add(k1, ir.Constant(k1.type, WEYL[1]))
    front, back = (c0 & MASK) | (c1 << 32), (c2 & MASK) | (c3 << 32)
    pairs = [
        group + lane + half
        for group in range(0, lanes, 8)
        for odd in range(2)
        for lane in range(odd, 8, 2)
        for half in (0, lanes)
    ]
    out.store(at, front.shuffled(pairs, back))


@njit
@no_type_check
def half_words(k0, k1, first, out, stream):
    """Fill `out`, of whole tiles, with the half-words from position `first` on."""
    for at in range(0, len(out), DRAWN):
        _draw(k0, k1, (first + at) // HALVES, stream, out, at)


def normals(halves: Vector, table: Memory, element: Any) -> Vector:
    """Emit the standard normals of half-words."""
    return table.gather(halves & (QUANTILES - 1)).flipped(halves, NORMAL_SIGN).converted(element)
