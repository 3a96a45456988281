"""Quantised numbers as a short message: a codebook, how often each level occurs, an ANS stream.

The message is its own prefix code, so no stop sign is to be charged: the numbers of values, levels
and words come first, each in Elias' gamma code, so that every later part has a known end.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float16, Float32, Integer, UInt32

from said_lightning.errors import UserError, needs

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
    """Code numbers that are given as places in the codebook, 1 or more of them.

    Raise UserError, as `decode` does too, where constriction is not installed.
    """
    counts = np.bincount(symbols, minlength=len(codebook)).astype(np.uint32)
    coder = _constriction().stream.stack.AnsCoder()
    coder.encode_reverse(symbols.astype(np.int32), _model(counts))
    return Coded(codebook, counts, coder.get_compressed(), len(symbols))


def decode(coded: Coded) -> Float32[np.ndarray, " length"]:
    """Return the numbers of a message.

    Raise UserError where no `encode` gives such a message, whatever it holds.
    """
    if wrong := validate_coded(coded):
        raise UserError(*(f"quantised numbers: {message}" for message in wrong))
    try:
        coder = _constriction().stream.stack.AnsCoder(coded.words)
        symbols = coder.decode(_model(coded.counts), coded.length)
    except ValueError as error:
        raise UserError(f"quantised numbers: {error}") from None
    counts = np.bincount(symbols, minlength=len(coded.counts))
    if not coder.is_empty() or not np.array_equal(counts, coded.counts):
        raise UserError("quantised numbers: the stream holds others than its counts say")
    return coded.codebook[symbols].astype(np.float32)


def bits(coded: Coded) -> int:
    """Return the length in bits of the whole message, a word of a prefix code.

    Three sizes in Elias' gamma code, ceil(log2(length + 1)) for each count, 16 for each level of
    the codebook, 32 for each word of the stream.
    """
    levels, words = len(coded.codebook), len(coded.words)
    sizes = sum(_gamma(size) for size in (coded.length, levels, words + 1))
    return sizes + levels * (coded.length.bit_length() + 16) + 32 * words


def _gamma(number: int) -> int:
    """Return the length of a number of 1 or more in Elias' gamma code."""
    return 2 * number.bit_length() - 1


def _constriction() -> Any:
    return needs("constriction", "certify", "a quantised artifact")


def _model(counts: UInt32[np.ndarray, " k"]) -> Any:
    # The library wants two levels at least; one that never occurs costs nothing.
    weights = np.append(counts, [0] * (len(counts) < 2)).astype(np.float64)
    return _constriction().stream.model.Categorical(weights / weights.sum(), perfect=False)


def validate_coded(coded: Coded) -> list[str]:
    """Return what keeps a message from being one that `encode` gives, as far as its sizes show."""
    levels, total = len(coded.codebook), int(coded.counts.sum(dtype=np.uint64))
    found = []
    if not 1 <= coded.length <= LONGEST:
        found.append(f"{coded.length} of them; expected 1 to {LONGEST:,}")
    if levels != len(coded.counts):
        found.append(f"{levels} levels and {len(coded.counts)} counts; expected as many")
    if total != coded.length:
        found.append(f"the counts sum to {total:,}; expected {coded.length:,}")
    if not np.isfinite(coded.codebook).all():
        found.append("a level is not finite")
    return found
