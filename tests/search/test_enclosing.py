"""More d are run where those that are read enclose the crossing or the interval not."""

import math
from collections import Counter
from dataclasses import replace

from said_lightning.analysis.price import POINTS
from said_lightning.search.jobs import Job
from tests.search.curves import PLAN, curve, searched


def test_where_the_crossing_lies_outside_more_d_are_run_with_the_same_seeds() -> None:
    located, read = curve(700), curve(3000)

    def train(job: Job) -> float | None:
        return read(job) if job.stage == "confirm" else located(job)

    answer = searched(train)
    seeds = Counter(job.d for job in answer.runs if job.stage == "confirm")
    assert len(seeds) - 1 > POINTS
    assert set(seeds.values()) == {PLAN.seeds}
    assert answer.verdict == "found"
    assert 2000 < (answer.d90 or 0) < 4500


def flat_above(job: Job) -> float | None:
    """Score a run on a curve that stays near the threshold over some d."""
    if job.d is None:
        return curve()(job)
    steps = math.log(job.d / 700)
    shape = 0.04 * steps if steps < 0 else 0.004 * steps + 0.02 * max(0.0, steps - 1.5)
    noise = 0.008 * math.sin(5 * job.seed + 2 * job.d)
    return 0.72 + shape - 0.02 * math.log(job.rate) ** 2 + noise


def test_where_the_interval_is_open_more_d_are_run_with_the_same_seeds_as_the_budget_goes() -> None:
    answer = searched(flat_above)
    seeds = Counter(job.d for job in answer.runs if job.stage == "confirm")
    assert len(seeds) - 1 > POINTS
    assert set(seeds.values()) == {PLAN.seeds}
    assert None not in answer.interval
    short = searched(flat_above, replace(PLAN, budget=len(answer.runs) - 1))
    assert short.verdict == "found"
    assert None in short.interval
    assert any("the interval is open" in note for note in short.notes)
    assert not any("the interval is open" in note for note in answer.notes)


def test_the_budget_is_kept_for_a_width_before_it_goes_to_an_open_interval() -> None:
    plan = replace(PLAN, width=1.5, budget=400)
    answer = searched(flat_above, plan)
    further = {job.d for job in answer.runs if job.stage == "confirm" and job.seed >= PLAN.seeds}
    assert len(further) == POINTS + 1
    short = searched(flat_above, replace(plan, budget=len(answer.runs) - 1))
    assert short.verdict == "found"
    assert {job.seed for job in short.runs} == {job.seed for job in answer.runs}
    assert len(short.runs) < len(answer.runs)
