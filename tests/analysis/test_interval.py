"""The fit alone: where it crosses, and what its interval holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.isotonic import isotonic_regression

from said_lightning.analysis.interval import Levels, crossing, fit

RAW = Levels(0.9, 0)


@given(
    y=st.lists(st.floats(0, 1), min_size=2, max_size=12),
    level=st.floats(0.05, 0.95),
    data=st.data(),
)
def test_the_crossing_is_that_of_the_whole_isotonic_fit(
    y: list[float], level: float, data: st.DataObject
) -> None:
    weight = np.array(data.draw(st.lists(st.integers(1, 9), min_size=len(y), max_size=len(y))))
    x = np.arange(len(y), dtype=float)
    whole = isotonic_regression(np.array(y), sample_weight=weight.astype(float))
    (found,) = crossing(x, np.array([y]), weight.astype(float), np.array([level]))
    if abs(whole - level).min() < 1e-9:
        return  # a tie, which rounding decides
    k = int((whole < level).sum())
    if k in (0, len(y)):
        assert found == (-np.inf if k == 0 else np.inf)
    else:
        assert_allclose(found, np.interp(level, whole[k - 1 : k + 1], x[k - 1 : k + 1]), atol=1e-6)


def test_a_tie_meets_the_level() -> None:
    assert fit([(10, [0.6]), (100, [0.72])], [0.8], RAW).d == pytest.approx(100)


def test_a_crossing_out_of_the_range_is_no_number() -> None:
    above = fit([(10, [0.8, 0.81]), (100, [0.82, 0.83])], [0.8, 0.8], RAW)
    below = fit([(10, [0.5, 0.51]), (100, [0.52, 0.53])], [0.8, 0.8], RAW)
    assert (above.d, above.interval) == (None, (None, None))
    assert (below.d, below.interval) == (None, (None, None))


def test_one_seed_gives_no_interval() -> None:
    assert fit([(10, [0.5]), (100, [0.8])], [0.8, 0.82], RAW).interval is None


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=1, max_size=8))
def test_no_number_lies_out_of_the_searched_range(cells: list[list[float]]) -> None:
    curve = [(10 * 2**i, values) for i, values in enumerate(cells)]
    found = fit(curve, [0.8, 0.85], RAW)
    for number in (found.d, *(found.interval or ())):
        assert number is None or 10 <= number * (1 + 1e-9) <= curve[-1][0] * (1 + 2e-9)


def test_more_noise_or_fewer_seeds_make_the_interval_wider() -> None:
    def width(noise: float, seeds: int) -> float:
        spread = noise * np.linspace(-1, 1, seeds)
        curve = [(10 * 2**i, list(0.5 + 0.05 * i + spread)) for i in range(8)]
        interval = fit(curve, [0.8, 0.8, 0.8], RAW).interval
        assert interval is not None
        assert None not in interval
        low, high = interval
        return (high or 0) / (low or 1)

    assert width(0.001, 3) < width(0.02, 3) < width(0.05, 3)
    assert width(0.02, 12) < width(0.02, 3)


def test_values_beyond_the_cut_weigh_no_more_than_the_cut() -> None:
    def at(top: float) -> float | None:
        return fit([(10, [0.70]), (100, [top])], [0.8], RAW, cut=0.02).d

    assert at(0.74) == at(0.99) != fit([(10, [0.70]), (100, [0.99])], [0.8], RAW).d


def test_the_same_runs_give_the_same_interval() -> None:
    curve = [(10, [0.5, 0.6]), (100, [0.7, 0.75]), (1000, [0.8, 0.8])]
    assert fit(curve, [0.8, 0.82], RAW) == fit(curve, [0.8, 0.82], RAW)
