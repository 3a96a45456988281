"""The search for the d90 of one series, with a simulated curve in place of training."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from said_lightning.search.series import STEP, Job, SeriesSearch

FULL = [0.8, 0.8, 0.8]


def answered(search: SeriesSearch, d90: int, best: float = 1.0) -> SeriesSearch:
    """Answer a search by a curve through the threshold at d90, two points a step of the grid."""
    while jobs := search.ask():
        for job in jobs:
            wrong_rate = 0.0 if job.rate == best else 0.05
            search.observe(
                job, 0.72 + 0.02 * (job.d / d90 - 1) - wrong_rate + 0.001 * (job.seed % 3 - 1)
            )
    return search


@pytest.mark.parametrize("d90", [150, 2000, 50_000, 700_000])
def test_the_search_comes_within_a_step_of_d90_and_stops_when_it_knows(d90: int) -> None:
    search = answered(SeriesSearch(FULL, 100, 10**6), d90)
    found = search.fit().d
    assert found is not None
    assert 1 / STEP < found / d90 < STEP
    assert search.narrow()
    assert len(search.results) < search.budget


@pytest.mark.parametrize(("d90", "end"), [(10, 0), (10**8, -1)])
def test_a_d90_out_of_the_range_ends_the_search_early_without_a_number(d90: int, end: int) -> None:
    search = answered(SeriesSearch(FULL, 100, 10**6), d90)
    assert search.fit().d is None
    assert search.out_of_range()
    assert len(search.results) < search.budget
    assert search.grid[end] in {job.d for job, _ in search.results}


def test_the_best_rate_is_found_and_used() -> None:
    search = answered(SeriesSearch(FULL, 100, 10**6, (1.0, 3.0, 0.3)), 2000, best=3.0)
    assert search.rate == 3.0
    found = search.fit().d
    assert found is not None
    assert 1 / STEP < found / 2000 < STEP


@pytest.mark.parametrize("budget", [1, 5, 11])
def test_the_budget_is_kept_and_failed_runs_count(budget: int) -> None:
    search = SeriesSearch(FULL, 100, 10**6, (1.0, 3.0), budget)
    while jobs := search.ask():
        for job in jobs:
            search.observe(job, None if len(search.results) == 1 else 0.7)
    assert len(search.results) <= budget


def test_a_series_whose_every_run_fails_is_given_up() -> None:
    search = SeriesSearch(FULL, 100, 10**6)
    while jobs := search.ask():
        for job in jobs:
            search.observe(job, None)
    assert len(search.results) == search.batch


def test_a_failed_run_is_not_asked_for_again() -> None:
    search = SeriesSearch(FULL, 100, 10**6)
    for number in range(8):
        for job in search.ask():
            search.observe(job, None if number == 1 else (0.6 if job.d < 3000 else 0.75))
    assert max(Counter(job for job, _ in search.results).values()) == 1


def test_a_wrong_rate_that_fails_to_meet_the_threshold_is_no_evidence_on_d90() -> None:
    search = SeriesSearch(FULL, 100, 10**6, (1.0, 3.0))
    before = search.posterior()
    search.observe(Job(search.grid[20], 3.0, 0), 0.5)
    assert (search.posterior() == before).all()


@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.floats(0, 1) | st.none(), min_size=40, max_size=40))
def test_whatever_runs_answer_the_same_answers_give_the_same_search(
    values: list[float | None],
) -> None:
    searches = [SeriesSearch(FULL, 100, 10**5, (1.0, 3.0), budget=12) for _ in range(2)]
    for search in searches:
        while jobs := search.ask():
            for job in jobs:
                search.observe(job, values[len(search.results)])
    assert searches[0].results == searches[1].results
    assert all(100 <= job.d <= 10**5 for job, _ in searches[0].results)
    found = searches[0].fit().d
    assert found is None or 100 <= found * (1 + 1e-9) <= 10**5 * (1 + 2e-9)
