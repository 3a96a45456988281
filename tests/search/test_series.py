"""The search of one lane, told what a simulated lane answers."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from said_lightning.search.series import STEP, Job, Lane

FULL = [0.8, 0.8, 0.8]


def answered(lane: Lane, d90: int, best: float = 1.0) -> Lane:
    """Tells a lane of a curve that crosses the threshold at d90, two points a step of the grid."""
    while jobs := lane.ask():
        for job in jobs:
            wrong_rate = 0.0 if job.rate == best else 0.05
            lane.tell(
                job, 0.72 + 0.02 * (job.d / d90 - 1) - wrong_rate + 0.001 * (job.seed % 3 - 1)
            )
    return lane


@pytest.mark.parametrize("d90", [150, 2000, 50_000, 700_000])
def test_the_search_comes_within_a_step_of_d90_and_stops_when_it_knows(d90: int) -> None:
    lane = answered(Lane(FULL, 100, 10**6), d90)
    found = lane.fit().d
    assert found is not None
    assert 1 / STEP < found / d90 < STEP
    assert lane.narrow()
    assert len(lane.told) < lane.budget


@pytest.mark.parametrize(("d90", "end"), [(10, 0), (10**8, -1)])
def test_a_d90_out_of_the_range_ends_the_search_early_without_a_number(d90: int, end: int) -> None:
    lane = answered(Lane(FULL, 100, 10**6), d90)
    assert lane.fit().d is None
    assert lane.out_of_range()
    assert len(lane.told) < lane.budget
    assert lane.grid[end] in {job.d for job, _ in lane.told}


def test_the_best_rate_is_found_and_used() -> None:
    lane = answered(Lane(FULL, 100, 10**6, (1.0, 3.0, 0.3)), 2000, best=3.0)
    assert lane.rate == 3.0
    found = lane.fit().d
    assert found is not None
    assert 1 / STEP < found / 2000 < STEP


@pytest.mark.parametrize("budget", [1, 5, 11])
def test_the_budget_is_kept_and_failed_runs_count(budget: int) -> None:
    lane = Lane(FULL, 100, 10**6, (1.0, 3.0), budget)
    while jobs := lane.ask():
        for job in jobs:
            lane.tell(job, None if len(lane.told) == 1 else 0.7)
    assert len(lane.told) <= budget


def test_a_lane_whose_every_run_fails_is_given_up() -> None:
    lane = Lane(FULL, 100, 10**6)
    while jobs := lane.ask():
        for job in jobs:
            lane.tell(job, None)
    assert len(lane.told) == lane.batch


def test_a_failed_run_is_not_asked_for_again() -> None:
    lane = Lane(FULL, 100, 10**6)
    for number in range(8):
        for job in lane.ask():
            lane.tell(job, None if number == 1 else (0.6 if job.d < 3000 else 0.75))
    assert max(Counter(job for job, _ in lane.told).values()) == 1


def test_a_wrong_rate_that_fails_to_meet_the_threshold_tells_nothing_of_d90() -> None:
    lane = Lane(FULL, 100, 10**6, (1.0, 3.0))
    before = lane.posterior()
    lane.tell(Job(lane.grid[20], 3.0, 0), 0.5)
    assert (lane.posterior() == before).all()


@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.floats(0, 1) | st.none(), min_size=40, max_size=40))
def test_whatever_runs_answer_the_same_answers_give_the_same_search(
    values: list[float | None],
) -> None:
    lanes = [Lane(FULL, 100, 10**5, (1.0, 3.0), budget=12) for _ in range(2)]
    for lane in lanes:
        while jobs := lane.ask():
            for job in jobs:
                lane.tell(job, values[len(lane.told)])
    assert lanes[0].told == lanes[1].told
    assert all(100 <= job.d <= 10**5 for job, _ in lanes[0].told)
    found = lanes[0].fit().d
    assert found is None or 100 <= found * (1 + 1e-9) <= 10**5 * (1 + 2e-9)
