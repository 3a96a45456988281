"""The choice of a learning rate and a length of training."""

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from said_lightning.runs.record import CHOOSING
from said_lightning.search.jobs import Job, Runs
from said_lightning.search.tune import FEW, GROWTH, RATES, Tuned, tune

MANY = 6
Train = Callable[[Job], float | None]


def peak(at: float, noise: float = 0.0) -> Train:
    """Return runs whose metric is best at a rate, with the same noise of a seed at every rate."""
    return lambda job: 0.8 - 0.05 * math.log(job.rate / at) ** 2 + noise * math.sin(job.seed)


def tuned(
    train: Train,
    rates: tuple[float, ...] = RATES,
    lengths: tuple[float, ...] = (1.0,),
    trivial: float | None = None,
) -> tuple[Tuned | None, list[Job]]:
    """Return what is chosen at d = 300, and the jobs made for it."""
    runs = Runs(1000, trivial)
    steps = tune(runs, 300, rates, lengths, MANY)
    while True:
        try:
            jobs = next(steps)
        except StopIteration as end:
            return end.value, list(runs.scores)
        for job in jobs:
            runs.scores[job] = train(job)


@pytest.mark.parametrize("power", [-3, -2, -1, 0, 1, 2, 3])
def test_the_list_grows_until_the_best_rate_lies_inside_it(power: int) -> None:
    found, jobs = tuned(peak(3.0**power, noise=0.01))
    assert found is not None
    assert found.rate == pytest.approx(3.0**power)
    assert not found.edge
    tried = {job.rate for job in jobs}
    assert min(tried) < found.rate < max(tried)


@pytest.mark.parametrize("power", [-9, 9])
def test_a_best_rate_that_stays_at_the_edge_is_named(power: int) -> None:
    found, jobs = tuned(peak(3.0**power))
    assert found is not None
    assert found.edge
    assert len({job.rate for job in jobs}) == len(RATES) + GROWTH


def test_rates_are_compared_on_the_same_seeds_which_no_other_stage_uses() -> None:
    _, jobs = tuned(peak(1.0))
    assert {job.stage for job in jobs} == {"rates"}
    assert {job.seed for job in jobs} == set(range(CHOOSING, CHOOSING + MANY))


def test_the_runner_up_has_as_many_seeds_as_the_best() -> None:
    found, jobs = tuned(peak(1.2))
    seeds = Counter(job.rate for job in jobs)
    assert found is not None
    assert (seeds[found.rate], seeds[RATES[2]], seeds[RATES[0]]) == (MANY, MANY, FEW)


def test_of_equal_rates_the_one_nearest_to_the_callers_is_taken() -> None:
    found, _ = tuned(lambda job: 0.8)
    assert found is not None
    assert (found.rate, found.edge) == (1.0, False)


def test_one_rate_is_taken_as_it_is() -> None:
    found, jobs = tuned(peak(9.0), rates=(2.0,))
    assert found is not None
    assert (found.rate, found.edge, len(jobs)) == (2.0, False, FEW)


def test_a_lucky_rate_is_found_out_by_more_seeds() -> None:
    lucky = {CHOOSING: 0.1, CHOOSING + 1: 0.1}

    def train(job: Job) -> float:
        return 0.8 if job.rate == 1 else 0.75 + (lucky.get(job.seed, 0.0) if job.rate == 3 else 0)

    found, _ = tuned(train)
    assert found is not None
    assert found.rate == 1.0


def test_a_rate_whose_runs_fail_is_not_chosen_and_a_series_whose_all_fail_is_given_up() -> None:
    found, _ = tuned(lambda job: None if job.rate > 1 else peak(1.0)(job))
    assert found is not None
    assert found.rate == 1.0
    nothing, jobs = tuned(lambda job: None)
    assert nothing is None
    assert len(jobs) == FEW * len(RATES)


def test_a_run_that_got_stuck_does_not_decide_on_its_rate() -> None:
    def train(job: Job) -> float | None:
        return 0.5 if job.rate == 3 and job.seed == CHOOSING else peak(2.5)(job)

    rates = [getattr(tuned(train, trivial=known)[0], "rate", None) for known in (0.5, None)]
    assert rates == [3.0, 1.0]


def test_a_rate_at_which_most_runs_get_stuck_is_not_chosen() -> None:
    def train(job: Job) -> float | None:
        return 0.5 if job.rate == 3 and job.seed != CHOOSING else peak(3.0)(job)

    found, _ = tuned(train, trivial=0.5)
    assert found is not None
    assert found.rate != 3.0


def test_one_run_that_is_left_of_a_rate_is_enough_to_choose_it() -> None:
    found, _ = tuned(lambda job: 0.5 if job.seed == CHOOSING else 0.8, rates=(1.0,), trivial=0.5)
    assert found is not None
    assert (found.rate, found.values) == (1.0, (0.8,))


def test_the_regret_of_a_choice_is_what_noise_leaves_open() -> None:
    def noisy(gap: float, noise: float) -> Train:
        def train(job: Job) -> float:
            luck = np.random.default_rng([job.seed, round(1e6 * job.rate)]).standard_normal()
            return 0.8 - gap * abs(math.log(job.rate)) + noise * luck

        return train

    def regret(train: Train, rates: tuple[float, ...] = RATES) -> float:
        found, _ = tuned(train, rates)
        assert found is not None
        return found.regret

    assert regret(noisy(0.1, 0.001)) < 1e-6
    assert 0.001 < regret(noisy(0.0, 0.01)) < 0.01
    assert regret(noisy(0.0, 0.02)) == pytest.approx(2 * regret(noisy(0.0, 0.01)))
    assert regret(noisy(0.0, 0.01), (1.0,)) == 0.0


def longer(best: float, scatter: float) -> Train:
    """Return runs that learn until a length and no more, each with noise of its own."""

    def train(job: Job) -> float:
        noise = scatter * math.sin(7 * job.seed + 13 * job.length + job.rate)
        return 0.8 - 0.1 * max(0.0, best - job.length) - 0.05 * math.log(job.rate) ** 2 + noise

    return train


@pytest.mark.parametrize("best", [1.0, 2.0])
def test_the_shortest_length_within_noise_of_the_best_is_chosen(best: float) -> None:
    found, _ = tuned(longer(best, scatter=0.002), lengths=(4.0, 1.0, 2.0))
    assert found is not None
    assert (found.length, found.rising) == (best, False)


def test_a_metric_that_rises_with_the_longest_length_is_named() -> None:
    found, _ = tuned(longer(8.0, scatter=0.002), lengths=(1.0, 2.0, 4.0))
    assert found is not None
    assert (found.length, found.rising) == (4.0, True)


def test_each_length_has_its_own_best_rate() -> None:
    found, _ = tuned(lambda job: peak(3.0 / job.length)(job) + job.length / 10, lengths=(1.0, 3.0))  # type: ignore[operator]
    assert found is not None
    assert (found.length, found.rate) == (3.0, 1.0)
