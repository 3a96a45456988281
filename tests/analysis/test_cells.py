"""Two d of which the larger has the smaller metric: by chance, or not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from said_lightning.analysis.cells import CHANCE, fallen

RUNS = st.lists(st.integers(0, 50), min_size=1, max_size=7, unique=True)


@given(RUNS, RUNS)
def test_a_fall_is_one_where_a_test_of_ranks_finds_one(small: list[int], large: list[int]) -> None:
    upper, lower = np.array(small) / 100, np.array(large) / 100 - 0.001  # no ties
    found = fallen({10: dict(enumerate(upper)), 20: dict(enumerate(lower))}, threshold=1.0)
    chance = mannwhitneyu(lower, upper, alternative="less", method="exact").pvalue
    assert (found == (10, 20)) == bool(chance <= CHANCE)


@pytest.mark.parametrize(("last", "pair"), [(0.30, (30, 300)), (0.55, (30, 100)), (0.9, (30, 100))])
def test_of_several_falls_the_one_that_falls_most_is_named(
    last: float, pair: tuple[int, int]
) -> None:
    means = {10: 0.6, 30: 0.7, 100: 0.5, 300: last}
    points = {d: {seed: mean + seed / 1000 for seed in range(5)} for d, mean in means.items()}
    assert fallen(points, threshold=0.72) == pair
    assert fallen(points, threshold=0.2) is None
