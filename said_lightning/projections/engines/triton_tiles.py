"""Tiles of a block for the Triton engines: which places a program has, and their half-words.

A tile is 2^HIGH rows of 2^COLUMNS neighbours, the rows 2^STRIDE apart. Where butterflies follow,
they are those of the tile from bit FIRST of a place in it on.
"""

from typing import no_type_check

import triton
import triton.language as tl

from said_lightning.projections.engines.triton_random import HALVES, half_words


@triton.jit
@no_type_check
def block(BITS: tl.constexpr):
    """Return where a program's block begins."""
    return tl.program_id(1).to(tl.int64) << BITS


@triton.jit
@no_type_check
def places(STEP: tl.constexpr, HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr):
    """Return the places in a block of every STEP-th number of a program's tile."""
    at = tl.arange(0, (1 << (HIGH + COLUMNS)) // STEP) * STEP
    # By % and //, unlike & and >>, the compiler sees that neighbours stay neighbours.
    column = (tl.program_id(0) << COLUMNS) + at % (1 << COLUMNS)
    return at // (1 << COLUMNS) * (1 << STRIDE) + column


@triton.jit
@no_type_check
def halves(k0, k1, first, HIGH: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr):
    """Draw the half-words of a program's tile in the block whose draws begin at `first`."""
    return half_words(k0, k1, (first + places(HALVES, HIGH, COLUMNS, STRIDE)) // HALVES)
