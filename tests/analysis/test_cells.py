"""What cells say of themselves: a metric that falls, by chance or not, and d that were not run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from said_lightning.analysis.cells import CHANCE, fallen, open_ends

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


ENDS = st.sampled_from([None, 7])


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=9, unique=True), ENDS, ENDS)
def test_the_d_that_may_close_an_interval_lie_beyond_its_open_ends(
    grid: list[int], low: int | None, high: int | None
) -> None:
    grid.sort()
    notes = list(open_ends(grid, (low, high)))
    assert len(notes) == (low is None and grid[0] > 1) + (high is None)
    for note in notes:
        more = [int(d) for d in note.split(": d=")[1].split(" ")[0].split(",")]
        assert more == sorted(set(more))
        assert max(more) < grid[0] if "open below" in note else min(more) > grid[-1]
