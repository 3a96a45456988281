"""Where d90 lies, from few runs, with a simulated curve in place of training."""

import numpy as np
import pytest

from said_lightning.runs.record import CHOOSING
from said_lightning.search.jobs import Job, Runs
from said_lightning.search.locate import MOST, SLACK, STEP, Grid, Place, locate
from said_lightning.search.tune import Tuned

GRID = Grid(100, 10**6)
OWN = Tuned(None, 1.0, 1.0, ())


def located(
    d90: float, width: int = 3, batch: int = 2, spare: int = 0, budget: int = 99
) -> tuple[Place | None, list[Job]]:
    """Return the place that is found for a curve through the threshold 0.72 at d90."""
    runs = Runs(budget, 0.5)
    steps = locate(runs, GRID, OWN, 0.72, batch=batch, width=width, spare=spare)
    while True:
        try:
            jobs = next(steps)
        except StopIteration as end:
            return end.value, list(runs.scores)
        for job in jobs:
            assert job.d is not None
            runs.scores[job] = 0.72 + 0.02 * float(np.log(job.d / d90))


def test_the_range_is_the_papers_grid() -> None:
    assert GRID.d == [int(d + 1e-9) for d in np.logspace(2, 6, 64)]


@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize("d90", [150, 2000, 50_000, 700_000])
def test_d90_is_located_within_a_few_steps_by_few_runs_of_one_seed(d90: int, batch: int) -> None:
    place, jobs = located(d90, batch=batch)
    assert place is not None
    assert not place.outside
    assert 1 / STEP**4 < place.middle / d90 < STEP**4
    assert place.low <= place.middle <= place.high
    assert len(jobs) <= MOST
    assert {(job.stage, job.seed) for job in jobs} == {("locate", 2 * CHOOSING)}
    assert len({job.d for job in jobs}) == len(jobs)


@pytest.mark.parametrize(("d90", "end"), [(10, 0), (10**8, -1)])
def test_a_d90_out_of_the_range_is_seen(d90: int, end: int) -> None:
    place, jobs = located(d90)
    assert place is not None
    assert place.outside
    assert GRID.d[end] in {job.d for job in jobs}


def test_runs_may_end_just_above_the_threshold() -> None:
    _, jobs = located(2000)
    assert {job.stop_at for job in jobs} == {0.72 + SLACK * 0.72}


def test_runs_are_left_for_what_comes_after() -> None:
    place, jobs = located(2000, spare=45, budget=50)
    assert place is not None
    assert len(jobs) == 5


def test_a_failure_at_another_rate_is_no_evidence_and_a_success_is() -> None:
    runs = Runs(99, 0.5)
    before = GRID.posterior(runs, OWN, 0.72)
    runs.scores[Job("locate", GRID.d[20], 3.0, 0)] = 0.7
    assert (GRID.posterior(runs, OWN, 0.72) == before).all()
    runs.scores[Job("locate", GRID.d[40], 3.0, 0)] = 0.73
    assert GRID.posterior(runs, OWN, 0.72)[:41].sum() > 0.8


def test_a_run_that_got_stuck_is_no_evidence() -> None:
    runs = Runs(99, 0.5)
    for place, metric in ((10, 0.65), (40, 0.75)):
        runs.scores[Job("locate", GRID.d[place], 1.0, 0)] = metric
    before = GRID.posterior(runs, OWN, 0.72)
    runs.scores[Job("locate", GRID.d[30], 1.0, 0)] = 0.5
    assert (GRID.posterior(runs, OWN, 0.72) == before).all()


def test_a_series_whose_every_run_fails_is_given_up() -> None:
    runs = Runs(99, 0.5)
    steps = locate(runs, GRID, OWN, 0.72, batch=4, width=3, spare=0)
    runs.scores |= dict.fromkeys(next(steps))
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value is None
    assert len(runs.scores) == 4
