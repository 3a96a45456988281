"""Quantised numbers as a short message: a codebook, how often each level occurs, an ANS stream.

The message is its own prefix code, so no stop sign is to be charged: the numbers of values, levels
and words come first, each in Elias' gamma code, and tell where every later part ends.
"""

from dataclasses import dataclass

import constriction
import numpy as np
from jaxtyping import Float16, Float32, Integer, UInt32

from said_lightning.errors import UserError

# A stream of one level takes no words at all, so a small file could ask for any amount of memory.
LONGEST = 2**24


@dataclass(frozen=True)
class Coded:
    """A vector of `length` numbers: k levels, how often each occurs, and an ANS stream of them.

    One that was read from a file may hold anything: `decode` judges it.
    """

    codebook: Float16[np.ndarray, " k"]
    counts: UInt32[np.ndarray, " counted"]
    words: UInt32[np.ndarray, " words"]
    length: int


def encode(symbols: Integer[np.ndarray, " length"], codebook: Float16[np.ndarray, " k"]) -> Coded:
    """Codes numbers that are given as places in the codebook, 1 or more of them."""
    counts = np.bincount(symbols, minlength=len(codebook)).astype(np.uint32)
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(symbols.astype(np.int32), _model(counts))
    return Coded(codebook, counts, coder.get_compressed(), len(symbols))


def decode(coded: Coded) -> Float32[np.ndarray, " length"]:
    """Gives the numbers back.

    Raises UserError where no `encode` gives such a message, whatever it holds.
    """
    if problem := _problem(coded):
        raise UserError(f"quantised numbers: {problem}")
    try:
        coder = constriction.stream.stack.AnsCoder(coded.words)
        symbols = coder.decode(_model(coded.counts), coded.length)
    except ValueError as error:
        raise UserError(f"quantised numbers: {error}") from None
    counts = np.bincount(symbols, minlength=len(coded.counts))
    if not coder.is_empty() or not np.array_equal(counts, coded.counts):
        raise UserError("quantised numbers: the stream holds others than its counts tell")
    return coded.codebook[symbols].astype(np.float32)


def bits(coded: Coded) -> int:
    """Gives the length in bits of the whole message, a word of a prefix code.

    Three sizes in Elias' gamma code, ceil(log2(length + 1)) for each count, 16 for each level of
    the codebook, 32 for each word of the stream.
    """
    levels, words = len(coded.codebook), len(coded.words)
    sizes = sum(_gamma(size) for size in (coded.length, levels, words + 1))
    return sizes + levels * (coded.length.bit_length() + 16) + 32 * words


def _gamma(number: int) -> int:
    """Gives the length of a number of 1 or more in Elias' gamma code."""
    return 2 * number.bit_length() - 1


def _model(counts: UInt32[np.ndarray, " k"]) -> constriction.stream.model.Categorical:
    # The library wants two levels at least; one that never occurs costs nothing.
    weights = np.append(counts, [0] * (len(counts) < 2)).astype(np.float64)
    return constriction.stream.model.Categorical(weights / weights.sum(), perfect=False)


def _problem(coded: Coded) -> str | None:
    levels, total = len(coded.codebook), int(coded.counts.sum(dtype=np.uint64))
    if not 1 <= coded.length <= LONGEST:
        return f"{coded.length} of them; expected 1 to {LONGEST:,}"
    if levels != len(coded.counts):
        return f"{levels} levels and {len(coded.counts)} counts; expected as many"
    if total != coded.length:
        return f"the counts sum to {total:,}; expected {coded.length:,}"
    if not np.isfinite(coded.codebook).all():
        return "a level is not finite"
    return None
