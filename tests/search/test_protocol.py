"""The search as a machine: stages, budget and verdicts, with curves in place of training."""

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from said_lightning.analysis.price import POINTS
from said_lightning.runs.record import CHOOSING
from said_lightning.search.answer import Answer
from said_lightning.search.jobs import SEEDS, Job
from said_lightning.search.protocol import Search
from tests.search.curves import PLAN, curve, searched


def stages(answer: Answer) -> Counter[tuple[str, bool]]:
    """Count the runs by stage, of full fine-tuning (True) and the series."""
    return Counter((job.stage, job.d is None) for job in answer.runs)


@pytest.mark.parametrize("d90", [100, 700, 9000])
def test_d90_is_found_with_an_interval_that_holds_it(d90: int) -> None:
    answer = searched(curve(d90))
    low, high = answer.interval
    assert answer.verdict == "found"
    assert low is not None
    assert high is not None
    assert low <= d90 <= high
    assert low <= (answer.d90 or 0) <= high


def test_full_fine_tuning_and_the_series_are_tuned_alike_and_read_with_the_same_seeds() -> None:
    answer = searched(curve(best=3.0))
    assert (answer.rate, answer.full_rate) == (3.0, 1.0)
    seeds = {
        full: {
            job.seed for job in answer.runs if job.stage == "confirm" and (job.d is None) == full
        }
        for full in (True, False)
    }
    assert seeds[True] == seeds[False] == set(range(PLAN.seeds))
    rates = {job.rate for job in answer.runs if job.stage == "confirm" and job.d is not None}
    assert rates == {3.0}


def test_no_stage_shares_a_seed_with_another() -> None:
    runs = searched(curve()).runs
    seeds = {stage: {job.seed for job in runs if job.stage == stage} for stage in SEEDS}
    assert max(seeds["confirm"]) < CHOOSING <= min(seeds["rates"])
    assert max(seeds["rates"]) < min(seeds["locate"])


def test_rates_are_compared_near_d90() -> None:
    answer = searched(curve(700))
    tried = {job.d for job in answer.runs if job.stage == "rates" and job.d is not None}
    assert all(700 / 4 < d < 700 * 4 for d in tried)


def test_rates_are_compared_again_where_d90_moved_far_off_with_them() -> None:
    train = curve(300)

    def slow(job: Job) -> float | None:  # at the caller's rate, d90 seems to be 15,000
        moved = job._replace(d=max(1, job.d // 50)) if job.d and job.rate < 3 else job
        return train(moved._replace(rate=1.0))

    tried = {job.d for job in searched(slow).runs if job.stage == "rates" and job.d is not None}
    assert len(tried) == 2
    assert min(tried) < 1000 < max(tried)


def test_nothing_but_the_confirm_runs_enters_the_answer() -> None:
    train = curve()
    answer = searched(train)

    def worse(job: Job) -> float | None:
        """Give other scores to what was chosen by, which leave every choice as it is."""
        score = train(job)
        return score if job.stage == "confirm" or score is None else score + 1e-6

    assert str(searched(worse)) == str(answer)


def test_only_runs_that_locate_may_be_cut_off() -> None:
    stop = {job.stage: job.stop_at for job in searched(curve()).runs}
    assert stop["rates"] is stop["confirm"] is None
    assert stop["locate"] == pytest.approx(0.9 * 0.8 * 1.03, abs=0.01)


def test_the_d_that_are_read_do_not_depend_on_what_their_runs_gave() -> None:
    def points(shift: float) -> set[int | None]:
        def shifted(job: Job) -> float | None:
            score = curve()(job)
            return score if score is None or job.stage != "confirm" else score + shift * job.seed

        return {job.d for job in searched(shifted).runs if job.stage == "confirm"}

    assert points(0.0) == points(1e-3)


@pytest.mark.parametrize(("d90", "verdict"), [(1, "below-grid"), (10**9, "above-grid")])
def test_a_d90_out_of_the_range_is_said_at_a_low_price(d90: float, verdict: str) -> None:
    answer = searched(curve(d90))
    assert (answer.verdict, answer.d90) == (verdict, None)
    assert answer.interval == ((None, 50) if verdict == "below-grid" else (20_000, None))
    assert stages(answer)["confirm", False] == 2 * PLAN.seeds


def test_a_threshold_at_the_trivial_score_is_trivial_and_no_series_is_run() -> None:
    answer = searched(curve(full=0.54))
    assert answer.verdict == "trivial"
    assert all(job.d is None for job in answer.runs)
    assert "trivial score 0.5" in answer.notes[0]


def test_without_full_fine_tuning_there_is_no_baseline_and_no_series_is_run() -> None:
    answer = searched(lambda job: None if job.d is None else 0.8)
    assert answer.verdict == "no-baseline"
    assert all(job.d is None for job in answer.runs)


@pytest.mark.parametrize("of_full", [True, False])
def test_a_best_rate_at_the_edge_is_not_found(of_full: bool) -> None:
    train = curve(best=3.0**9)

    def edged(job: Job) -> float | None:
        return 0.76 + 0.01 * math.log(job.rate) if job.d is None and of_full else train(job)

    answer = searched(edged if of_full else train)
    assert answer.verdict == "edge"
    name = "full fine-tuning" if of_full else "the series"
    assert any(note.startswith(f"the best rate of {name}") for note in answer.notes)


def test_a_metric_that_rises_with_the_longest_training_is_said_and_lengths_are_chosen() -> None:
    train = curve()

    def slow(job: Job) -> float | None:
        score = train(job)
        return score if score is None or job.d is None else score + 0.05 * math.log(job.length)

    answer = searched(slow, replace(PLAN, lengths=(1.0, 3.0), budget=200))
    assert (answer.length, answer.full_length) == (3.0, 1.0)
    assert "the series still improves with the longest training, 3" in answer.notes
    assert {job.length for job in answer.runs if job.stage == "confirm" and job.d} == {3.0}


def test_one_rate_is_not_compared_and_that_is_said() -> None:
    answer = searched(curve(best=3.0), replace(PLAN, rates=(3.0,)))
    assert (answer.rate, answer.verdict) == (3.0, "found")
    assert stages(answer)["rates", False] == 0
    assert "rates were not compared: one was given" in answer.notes


@pytest.mark.parametrize("budget", [1, 5, 20, 40, 60])
def test_the_budget_is_kept_and_what_it_was_short_of_is_said(budget: int) -> None:
    answer = searched(curve(), replace(PLAN, budget=budget))
    assert len(answer.runs) <= budget
    assert answer.verdict == "incomplete"
    assert answer.notes[0].startswith(f"budget of {budget} runs: the stage ")
    assert answer.notes[0].endswith("are left")


def test_runs_that_locate_leave_what_the_answer_needs() -> None:
    whole = searched(curve())
    answer = searched(curve(), replace(PLAN, budget=len(whole.runs) - 2))
    assert answer.verdict == "found"
    assert stages(answer)["locate", False] == stages(whole)["locate", False] - 2


@settings(max_examples=20, deadline=None)
@given(failing=st.sets(st.integers(0, 80), max_size=20))
def test_a_failed_run_is_not_asked_for_again_and_counts(failing: set[int]) -> None:
    train, asked = curve(), list[Job]()

    def some_fail(job: Job) -> float | None:
        asked.append(job)
        return None if len(asked) in failing else train(job)

    answer = searched(some_fail)
    assert len(asked) == len(set(asked)) == len(answer.runs) <= PLAN.budget
    failed = sum(score is None for score in answer.runs.values())
    assert failed == len([number for number in failing if 1 <= number <= len(asked)])
    if failed:
        assert any(f"{failed} of {len(asked)} runs failed" in note for note in answer.notes)


def test_a_series_whose_every_run_fails_is_given_up() -> None:
    train = curve()
    answer = searched(lambda job: train(job) if job.d is None else None)
    assert answer.verdict == "incomplete"
    assert answer.notes[0] == "every run of the series failed"
    assert stages(answer)["locate", False] == PLAN.batch


def test_a_score_that_is_no_number_is_a_failed_run() -> None:
    assert searched(lambda job: math.nan).verdict == "no-baseline"


def test_runs_that_got_stuck_are_named() -> None:
    train = curve()
    answer = searched(lambda job: 0.5 if (job.stage, job.seed) == ("confirm", 2) else train(job))
    assert any(note.startswith("stuck at the trivial score") for note in answer.notes)
    assert any("full fine-tuning seed 2" in note for note in answer.notes)
    assert answer.verdict == "found"


def test_the_corrected_threshold_is_that_from_chance_to_full_fine_tuning() -> None:
    answer = searched(curve(), replace(PLAN, corrected=True))
    assert answer.full is not None
    assert answer.threshold == pytest.approx(0.05 + 0.9 * answer.full)


def test_the_price_of_a_width_is_announced_before_the_first_run_that_is_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    search = Search(PLAN)
    with caplog.at_level("INFO"):
        while all(job.stage != "confirm" or job.d is None for job in search.ask()):
            for job in search.ask():
                search.observe(job, curve()(job))
    (message,) = caplog.messages
    assert message.startswith(f"confirm: {POINTS} d x {PLAN.seeds} seeds; ")
    assert "x1.5" in message


@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.floats(0, 1) | st.none(), min_size=120, max_size=120))
def test_whatever_runs_answer_the_same_answers_give_the_same_search(
    values: list[float | None],
) -> None:
    searches = [Search(replace(PLAN, budget=60)) for _ in range(2)]
    for search in searches:
        while jobs := search.ask():
            for job in jobs:
                search.observe(job, values[len(search.runs.scores)])
    assert list(searches[0].runs.scores.items()) == list(searches[1].runs.scores.items())
    assert str(searches[0].answer) == str(searches[1].answer)
    assert all(job.d is None or 50 <= job.d <= 20_000 for job in searches[0].runs.scores)
