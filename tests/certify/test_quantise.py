"""Numbers are quantised as well as their levels allow."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from said_lightning.artifact.coding import decode
from said_lightning.certify.quantise import lloyd, nearest, quantise

finite = st.floats(-100, 100, width=16).map(np.float32)
vectors = arrays(np.float32, st.integers(1, 200), elements=finite)


@settings(max_examples=40)
@given(vectors, st.integers(1, 16))
def test_there_are_no_more_levels_than_allowed_and_none_is_idle(
    values: np.ndarray, levels: int
) -> None:
    coded = quantise(values, lloyd(values, levels))
    assert 1 <= len(coded.codebook) <= levels
    assert coded.counts.min() > 0


@settings(max_examples=40)
@given(vectors, st.integers(1, 16))
def test_each_number_becomes_the_level_nearest_to_it(values: np.ndarray, levels: int) -> None:
    codebook = lloyd(values, levels)
    found = decode(quantise(values, codebook))
    gaps = np.abs(values[:, None] - codebook.astype(np.float32))
    assert np.array_equal(np.abs(values - found), gaps.min(axis=1))
    assert np.array_equal(nearest(values, codebook), gaps.argmin(axis=1))


def test_levels_are_learned_where_the_numbers_are() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([-4.0, -1.0, 0.5, 8.0])
    values = (rng.choice(centres, 400) + 0.01 * rng.standard_normal(400)).astype(np.float32)
    assert np.allclose(lloyd(values, 4), centres, atol=0.01)


def test_more_levels_leave_a_smaller_error() -> None:
    values = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    lost = [
        np.square(values - decode(quantise(values, lloyd(values, k)))).mean() for k in (2, 4, 16)
    ]
    # What Max (1960) found for a normal distribution.
    assert np.allclose(lost, (0.3634, 0.1175, 0.0095), rtol=0.05)
