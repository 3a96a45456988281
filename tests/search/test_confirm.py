"""Which d are read, and what the width of the interval is expected to cost."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from said_lightning.analysis.price import POINTS
from said_lightning.search.confirm import (
    GAPS,
    LEAST_SLOPE,
    MORE,
    Outlook,
    beyond,
    look_ahead,
    outer,
    window,
    within,
)
from said_lightning.search.jobs import Job, Runs
from said_lightning.search.locate import Place
from said_lightning.search.tune import Tuned


def outlook(scatter: float = 0.01, outside: bool = False, middle: int = 700) -> Outlook:
    """Return what is expected of a curve that crosses at a place known within a factor of 1.2."""
    place = Place(round(middle / 1.1), middle, round(middle * 1.1), outside)
    return Outlook(place, slope=0.04, scatter=scatter, freedom=5.0, rows=0.0)


@pytest.mark.parametrize("scatter", [0.0, 0.005, 0.01, 0.03])
def test_the_d_that_are_read_lie_evenly_around_the_place(scatter: float) -> None:
    points, gap = window(outlook(scatter), 5, 50, 20_000)
    assert len(points) == POINTS
    assert points[POINTS // 2] == pytest.approx(700, rel=0.01)
    for one, other in pairwise(points):
        assert other / one == pytest.approx(gap, rel=0.05)


def test_they_lie_the_farther_apart_the_wider_the_interval_is_expected_to_be() -> None:
    gaps = [window(outlook(scatter), 5, 50, 20_000)[1] for scatter in (0.0, 0.01, 0.03, 0.1)]
    assert gaps == sorted(gaps)
    assert (gaps[0], gaps[-1]) == (GAPS[0], GAPS[-1])


@given(middle=st.integers(1, 10**6), low=st.integers(1, 1000), factor=st.floats(1.1, 1e4))
def test_they_stay_within_the_range(middle: int, low: int, factor: float) -> None:
    high = max(low + 1, round(low * factor))
    points, _ = window(outlook(middle=min(max(middle, low), high)), 5, low, high)
    assert 1 <= len(points) <= POINTS
    assert low <= points[0] <= points[-1] <= high


def test_two_d_at_the_end_show_that_d90_lies_outside() -> None:
    assert window(outlook(outside=True, middle=50), 5, 50, 20_000)[0] == [50, 70]
    assert window(outlook(outside=True, middle=20_000), 5, 50, 20_000)[0] == [14_286, 20_000]


@pytest.mark.parametrize(
    ("crossing", "short"),
    [
        (0.0, (True, False)),
        (120.0, (True, False)),
        (150.0, (False, False)),
        (270.0, (False, False)),
        (300.0, (False, True)),
        (math.inf, (False, True)),
    ],
)
def test_points_fall_short_where_the_crossing_is_not_between_inner_ones(
    crossing: float, short: tuple[bool, bool]
) -> None:
    log_d = math.log(crossing) if crossing else -math.inf
    assert outer([100, 140, 196, 280, 392], log_d) == short


def test_further_d_follow_where_points_fall_short() -> None:
    points = [100, 140, 196, 280, 392]
    below, above = [51, 71], [549, 768]
    assert len(below) == len(above) == MORE
    assert beyond(points, (False, False), 1.4, 10, 10_000) == []
    assert beyond(points, (True, False), 1.4, 10, 10_000) == below
    assert beyond(points, (False, True), 1.4, 10, 10_000) == above
    assert beyond(points, (True, True), 1.4, 10, 10_000) == below + above


def test_no_d_follows_beyond_the_range() -> None:
    assert beyond([100, 140, 196], (True, False), 1.4, 100, 10_000) == []
    assert beyond([100, 140, 196], (False, True), 1.4, 10, 200) == [200]
    assert beyond([1], (False, True), 1.4, 1, 100) == [2]
    assert beyond([1], (True, False), 1.4, 1, 100) == []
    assert outer([100, 140], math.log(120)) == (True, True)
    assert beyond([100, 140], (True, True), 1.4, 100, 10_000) == [196, 274]


def test_further_runs_for_a_width_lie_evenly_over_the_interval() -> None:
    assert within(400.0, 900.0) == [400, 490, 600, 735, 900]


def test_a_narrower_interval_costs_more_seeds_and_one_that_is_expected_none() -> None:
    points, _ = window(outlook(), 5, 50, 20_000)
    width = outlook().width(points, 5)
    costs = [outlook().more_seeds(points, 5, width * part) for part in (1.0, 0.9, 0.8)]
    assert costs[0] == 0
    assert costs[0] < (costs[1] or 0) < (costs[2] or 0)
    assert outlook().more_seeds(points, 5, 1.01) is None


def test_what_is_expected_follows_from_the_runs_that_chose() -> None:
    runs = Runs(99, 0.5)
    series, full = Tuned(300, 3.0, 1.0, (0.70, 0.72)), Tuned(None, 1.0, 1.0, (0.80, 0.82, 0.84))
    for job, score in {
        Job("rates", 300, 3.0, 1000): 0.70,
        Job("locate", 900, 3.0, 2000): 0.70 + 0.05 * math.log(3),
        Job("locate", 900, 1.0, 2000): 0.1,  # another rate
        Job("confirm", 900, 3.0, 0): 0.1,  # read, and so not looked at
    }.items():
        runs.scores[job] = score
    found = look_ahead(runs, full, series, Place(400, 500, 600, False), 0.74)
    assert found.slope == pytest.approx(0.05)
    assert found.scatter == pytest.approx(math.sqrt((0.0002 + 0.0004) / 2))
    assert (found.freedom, found.rows) == (2.0, 0.0)
    flat = look_ahead(Runs(99, 0.5), full, series, Place(400, 500, 600, False), 0.74)
    assert flat.slope == LEAST_SLOPE * 0.74
