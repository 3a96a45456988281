"""Quantised numbers come back from their message, whose length is what is charged."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from said_lightning.artifact.coding import Coded, bits, decode, encode
from said_lightning.errors import UserError


@st.composite
def messages(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Symbols and their codebook of up to 20 levels, some of them never used."""
    levels = draw(st.lists(st.floats(-9, 9, width=16), min_size=1, max_size=20))
    places = st.integers(0, len(levels) - 1)
    symbols = draw(st.lists(places, min_size=1, max_size=300))
    return np.array(symbols), np.array(levels, np.float16)


def normal(d: int, k: int) -> Coded:
    """d normal numbers, each at the nearest of k even levels."""
    numbers = np.random.default_rng(0).standard_normal(d)
    levels = np.linspace(-2, 2, k, dtype=np.float16)
    return encode(np.abs(numbers[:, None] - levels).argmin(axis=1), levels)


@given(messages())
def test_every_message_comes_back(message: tuple[np.ndarray, np.ndarray]) -> None:
    symbols, codebook = message
    assert np.array_equal(decode(encode(symbols, codebook)), codebook[symbols].astype(np.float32))


@given(messages())
def test_the_charge_covers_every_byte_that_is_needed(
    message: tuple[np.ndarray, np.ndarray],
) -> None:
    coded = encode(*message)
    stored = 8 * (coded.words.nbytes + coded.codebook.nbytes)
    counts = len(coded.counts) * math.ceil(math.log2(coded.length + 1))
    assert bits(coded) > stored + counts


@given(messages())
def test_the_stream_is_as_short_as_entropy_allows(message: tuple[np.ndarray, np.ndarray]) -> None:
    coded = encode(*message)
    shares = coded.counts[coded.counts > 0] / coded.length
    entropy = coded.length * -(shares * np.log2(shares)).sum()
    # The coder rounds its state up to whole words, and shares to 24 bits.
    assert entropy - 32 < 32 * len(coded.words) < entropy * 1.01 + 64


def test_no_message_begins_with_another() -> None:
    # Kraft's sum over all messages of a length, a codebook and counts' widths: the sizes' share.
    sizes = [2.0 ** -(2 * number.bit_length() - 1) for number in range(1, 2**16)]
    assert sum(sizes) <= 1


def test_two_hundred_numbers_take_less_than_300_bytes() -> None:
    coded = normal(200, 15)
    assert coded.words.nbytes + coded.codebook.nbytes + coded.counts.nbytes < 300
    assert bits(coded) < 8 * 300


GOOD = normal(50, 5)
SPOILED: dict[str, dict[str, Any]] = {
    "no numbers": {"length": 0},
    "fewer than none": {"length": -1},
    "more numbers than counted": {"length": 51},
    "a level too many": {"codebook": np.zeros(6, np.float16)},
    "a level that is no number": {"codebook": np.full(5, np.nan, np.float16)},
    "other counts": {"counts": np.roll(GOOD.counts, 1)},
    "a memory bomb": {"length": 2**33, "counts": np.full(5, 2**32 - 1, np.uint32)},
    "an empty stream": {"words": GOOD.words[:0]},
    "a stream cut off": {"words": GOOD.words[1:]},
    "a stream that goes on": {"words": np.append(GOOD.words, GOOD.words[:1])},
    "a stream that ends in zero": {"words": np.append(GOOD.words, GOOD.words[:1] * 0)},
}


@pytest.mark.parametrize("spoiled", SPOILED.values(), ids=list(SPOILED))
def test_what_no_encoder_gives_is_refused(spoiled: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="quantised numbers"):
        decode(dataclasses.replace(GOOD, **spoiled))


@given(st.integers(0, 32 * len(GOOD.words) - 1))
def test_no_flipped_bit_gives_the_same_numbers(place: int) -> None:
    words = GOOD.words.copy()
    words[place // 32] ^= np.uint32(1 << place % 32)
    try:
        found = decode(dataclasses.replace(GOOD, words=words))
    except UserError:
        return
    assert not np.array_equal(found, decode(GOOD))
