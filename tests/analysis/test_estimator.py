"""With full fine-tuning at 0.8 the threshold is 0.72; the majority class scores 0.5."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.runs.record import Epoch, Metric, Record

MakeRun = Callable[..., Record]
HALF = st.floats(0.5, 1)


def only(records: list[Record]) -> Row:
    (row,) = estimate(records)
    return row


def curve(run: MakeRun, *values: float, full: float = 0.8) -> list[Record]:
    """Full fine-tuning, and DID at d = 10, 100, 1000, ... with these values."""
    points = [run("did", value, d=10 ** (i + 1)) for i, value in enumerate(values)]
    return [run("full", full), *points]


def answer(row: Row) -> tuple[str, int | None, tuple[int | None, int | None]]:
    return row.verdict, row.d90, row.interval


# Verdicts


def test_d90_is_the_smallest_d_that_meets_90_percent_of_full(run: MakeRun) -> None:
    row = only(curve(run, 0.6, 0.7, 0.75, 0.8))
    assert answer(row) == ("found", 1000, (100, 1000))
    assert (row.full, row.threshold, row.trivial, row.metric) == (0.8, 0.72, 0.5, "accuracy")


def test_a_tie_meets_the_threshold_whatever_floats_make_of_it(run: MakeRun) -> None:
    assert 0.9 * 0.8 > 0.72
    assert answer(only(curve(run, 0.6, 0.72))) == ("found", 100, (10, 100))


def test_a_curve_above_the_threshold_gives_an_upper_bound_and_no_number(run: MakeRun) -> None:
    assert answer(only(curve(run, 0.75, 0.8))) == ("below-grid", None, (None, 10))


def test_a_curve_below_the_threshold_gives_a_lower_bound_and_no_number(run: MakeRun) -> None:
    assert answer(only(curve(run, 0.6, 0.7))) == ("above-grid", None, (100, None))


def test_of_a_curve_that_falls_again_the_first_d_counts_and_a_note_says_so(run: MakeRun) -> None:
    row = only(curve(run, 0.6, 0.75, 0.7, 0.8))
    assert answer(row) == ("found", 100, (10, 100))
    assert row.notes == ("not monotone: below the threshold again at d = 1,000",)


@pytest.mark.parametrize("full", [0.55, 0.5, 0.4])
def test_a_threshold_no_better_than_the_majority_class_is_trivial(
    run: MakeRun, full: float
) -> None:
    assert answer(only(curve(run, 0.49, 0.9, full=full))) == ("trivial", None, (None, None))


def test_a_threshold_equal_to_the_majority_class_is_trivial(run: MakeRun) -> None:
    records = [run("full", 0.8, trivial=0.72), run("did", 0.6, d=10), run("did", 0.8, d=100)]
    assert only(records).verdict == "trivial"


@pytest.mark.parametrize("full", [-0.02, 0.0])
def test_a_matthews_correlation_at_or_below_zero_is_trivial(run: MakeRun, full: float) -> None:
    assert only([run("full", full, trivial=0.0), run("did", 0.1, d=10)]).verdict == "trivial"


def test_a_negative_full_metric_below_trivial_is_trivial_though_its_share_is_above(
    run: MakeRun,
) -> None:
    assert only([run("full", -5.0, trivial=-4.8), run("did", -1.0, d=10)]).verdict == "trivial"


def test_without_full_fine_tuning_there_is_no_baseline(run: MakeRun) -> None:
    row = only(curve(run, 0.6, 0.8)[1:])
    assert answer(row) == ("no-baseline", None, (None, None))
    assert (row.full, row.threshold, row.baseline) == (None, None, None)


def test_a_baseline_that_failed_is_no_baseline_and_its_reason_is_told(run: MakeRun) -> None:
    failed = run("full", None, status="failed", reason="out of\n  memory", lr=5e-5)
    row = only([failed, *curve(run, 0.6, 0.8)[1:]])
    assert row.verdict == "no-baseline"
    assert row.notes == ("full fine-tuning not done: lr = 5e-05, seed 0 (failed: out of memory)",)


@pytest.mark.parametrize("status", ["running", "preempted"])
def test_a_baseline_under_way_is_waited_for(run: MakeRun, status: str) -> None:
    row = only([run("full", None, status=status, d=None), *curve(run, 0.6, 0.8)[1:]])
    assert answer(row) == ("incomplete", None, (None, None))


def test_a_baseline_with_a_seed_missing_may_still_move_the_threshold(run: MakeRun) -> None:
    row = only([*curve(run, 0.6, 0.8), run("full", None, status="failed", seed=1)])
    assert answer(row) == ("incomplete", None, (None, None))
    assert "so far d = 100 meets the threshold" in row.notes


@pytest.mark.parametrize("status", ["failed", "running", "preempted"])
@pytest.mark.parametrize(
    ("missing", "verdict"), [(50, "incomplete"), (100, "incomplete"), (500, "found")]
)
def test_a_run_missing_at_or_below_the_found_d_leaves_the_answer_open(
    run: MakeRun, status: str, missing: int, verdict: str
) -> None:
    open_run = run("did", None, d=missing, status=status, seed=1)
    row = only([*curve(run, 0.6, 0.75, 0.8), open_run])
    assert row.verdict == verdict
    assert (row.done, row.planned) == (3, 4)


def test_a_run_missing_anywhere_may_be_the_one_that_meets_the_threshold(run: MakeRun) -> None:
    assert only([*curve(run, 0.6), run("did", None, d=10**5, status="failed")]).verdict == (
        "incomplete"
    )


def test_a_missing_run_of_unknown_d_leaves_the_answer_open(run: MakeRun) -> None:
    lost = run("did", None, d=None, status="failed", seed=1)
    assert only([*curve(run, 0.6, 0.8), lost]).verdict == "incomplete"


def test_a_done_run_without_a_metric_is_missing(run: MakeRun) -> None:
    row = only([*curve(run, 0.6, 0.8), run("did", None, d=20)])
    assert row.verdict == "incomplete"
    assert row.notes[0] == "runs not done: d = 20, lr = 0.1, seed 0 (without a metric)"


def test_many_missing_runs_are_told_by_the_first_few(run: MakeRun) -> None:
    lost = [run("did", None, d=d, status="running") for d in range(20, 30)]
    (note, _) = only([*curve(run, 0.6, 0.8), *lost]).notes
    assert note.startswith("runs not done: d = 20, lr = 0.1, seed 0 (running); d = 21")
    assert note.endswith("and 7 more")


# What counts


def test_each_d_takes_the_learning_rate_with_the_best_mean_over_seeds(run: MakeRun) -> None:
    low = [run("did", value, d=10, lr=0.1, seed=s) for s, value in enumerate([0.60, 0.62])]
    lucky = [run("did", value, d=10, lr=0.3, seed=s) for s, value in enumerate([0.50, 0.71])]
    high = [run("did", 0.75, d=100, lr=lr) for lr in (0.3, 0.1)]
    row = only([run("full", 0.8), *low, *lucky, *high])
    assert row.curve[0] == (10, 0.61, 0.1, (0.60, 0.62))
    assert (row.d90, row.lr, row.seeds) == (100, 0.1, 1)


def test_full_fine_tuning_takes_its_best_learning_rate_by_the_same_rule(run: MakeRun) -> None:
    runs = [
        run("full", value, lr=lr, seed=seed)
        for lr, values in {2e-5: (0.7, 0.9), 5e-5: (0.81, 0.81)}.items()
        for seed, value in enumerate(values)
    ]
    row = only([*runs, run("did", 0.5, d=10)])
    assert row.baseline == (10**6, 0.81, 5e-5, (0.81, 0.81))


def test_one_baseline_serves_every_lane_of_its_model_and_task_alone(run: MakeRun) -> None:
    lanes = [
        run("said", 0.8, d=10),
        run("did", 0.8, d=10),
        run("did", 0.8, d=10, projection="dense"),
        run("did", 0.8, d=10, task="cola"),
        run("did", 0.8, d=10, model="bert"),
    ]
    rows = estimate([*lanes, run("full", 0.8)])
    names = [(row.model, row.task, row.method, row.projection) for row in rows]
    assert names == sorted(names)
    assert [row.verdict for row in rows].count("below-grid") == 3
    assert {row.verdict for row in rows if row.task == "cola" or row.model == "bert"} == {
        "no-baseline"
    }


@pytest.mark.parametrize("method", ["full", "did"])
def test_a_run_done_at_a_second_try_counts_once(run: MakeRun, method: str) -> None:
    facts = {"d": 10} if method == "did" else {}
    tries = [
        run(method, None, status="failed", started="2026-01-01T00:00:00Z", **facts),
        run(method, None, status="running", **(facts | {"lr": None})),
    ]
    row = only([*tries, *curve(run, 0.6, 0.8)])
    assert (row.verdict, row.done, row.planned) == ("found", 2, 2)


def test_a_baseline_alone_makes_no_row(run: MakeRun) -> None:
    assert estimate([run("full", 0.8)]) == []


# Notes


@pytest.mark.parametrize("key", ["data_sha256", "model_sha256"])
def test_runs_on_different_data_or_weights_are_not_mixed_silently(run: MakeRun, key: str) -> None:
    records = [
        run("full", 0.8, **{key: "new"}),
        run("did", 0.6, d=10, **{key: "old"}),
        run("did", 0.8, d=100, **{key: "old"}),
    ]
    assert only(records).notes == (f"mixes runs of different {key}: new, old",)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"epochs": (3, 10)}, "epochs: 10, 3"),
        ({"setting_hash": ("aa", "bb")}, "setting (config.yaml tells): aa, bb"),
    ],
)
def test_runs_of_different_epochs_or_settings_are_not_mixed_silently(
    run: MakeRun, facts: dict[str, Any], told: str
) -> None:
    ((key, (one, other)),) = facts.items()
    full, first, second = curve(run, 0.6, 0.8)
    alike = [replace(record, **{key: one}) for record in (full, first)]
    assert only([*alike, second]).notes == ()
    records = [*alike, replace(second, **{key: other})]
    assert only(records).notes == (f"mixes runs of different {told}",)


def test_different_metrics_are_not_mixed_silently(run: MakeRun) -> None:
    f1 = run("full", None, metric=Metric(name="f1", value=0.8, trivial=0.5))
    row = only([f1, *curve(run, 0.6, 0.8)[1:]])
    assert "mixes runs of different metric: accuracy, f1" in row.notes


def test_different_results_of_the_same_job_are_averaged_and_told(run: MakeRun) -> None:
    row = only([*curve(run, 0.6, 0.74), run("did", 0.76, d=100)])
    assert row.curve[1] == (100, 0.75, 0.1, (0.75,))
    assert (row.done, row.seeds) == (2, 1)
    assert row.notes == ("averaged: runs of the same d, lr and seed that disagree (1 such)",)


def test_numbers_of_a_head_outside_the_subspace_are_shown(run: MakeRun) -> None:
    row = only([run("full", 0.8), run("did", 0.6, d=1770, outside=770)])
    assert row.notes == ("d counts 770 numbers of a head outside the subspace",)


# Laws

curves = st.lists(st.tuples(st.integers(1, 10**6), HALF), min_size=1, unique_by=lambda p: p[0])


@given(points=curves, full=st.floats(0.56, 1))
def test_found_means_that_d90_meets_the_threshold_and_no_smaller_d_does(
    run: MakeRun, points: list[tuple[int, float]], full: float
) -> None:
    row = only([run("full", full), *(run("did", value, d=d) for d, value in points)])
    assert row.threshold is not None
    meets = {point.d: point.mean >= row.threshold for point in row.curve}
    low, high = row.interval
    assert row.verdict == (
        "above-grid" if not any(meets.values()) else "below-grid" if meets[min(meets)] else "found"
    )
    assert row.d90 == (high if row.verdict == "found" else None)
    assert low is None or low == max(d for d in meets if high is None or d < high)
    assert high is None or meets[high]
    assert not any(met for d, met in meets.items() if high is None or d < high)


@given(points=curves, full=st.floats(0.56, 1))
def test_on_a_monotone_curve_d90_is_where_it_crosses(
    run: MakeRun, points: list[tuple[int, float]], full: float
) -> None:
    grid = sorted(d for d, _ in points)
    rising = sorted(value for _, value in points)
    row = only(
        [run("full", full), *(run("did", v, d=d) for d, v in zip(grid, rising, strict=True))]
    )
    assert row.threshold is not None
    below = sum(point.mean < row.threshold for point in row.curve)
    low = grid[below - 1] if below else None
    high = grid[below] if below < len(grid) else None
    assert row.interval == (low, high)
    assert not row.notes


@given(seed=st.integers(), data=st.data())
def test_the_order_of_the_records_is_no_matter(
    run: MakeRun, seed: int, data: st.DataObject
) -> None:
    some = st.builds(
        run,
        method=st.sampled_from(["full", "did", "said"]),
        value=st.none() | HALF,
        d=st.sampled_from([10, 100, 1000]),
        lr=st.sampled_from([0.1, 0.3]),
        seed=st.integers(0, 2),
        status=st.sampled_from(["done", "done", "failed", "running"]),
        reason=st.none() | st.just("out of memory"),
        data_sha256=st.sampled_from(["a", "b"]),
        outside=st.sampled_from([0, 770]),
    )
    records = data.draw(st.lists(some, max_size=30))
    shuffled = random.Random(seed).sample(records, len(records))
    assert estimate(shuffled) == estimate(records)


def test_rows_stand_in_the_order_of_the_numbers_in_their_names(run: MakeRun) -> None:
    steps = [f"bert-{step}" for step in (0, 300, 3000, 10000)]
    rows = estimate([run("did", 0.5, d=10, model=model) for model in reversed(steps)])
    assert [row.model for row in rows] == steps
    alike = [run("did", 0.5, d=10, model=model) for model in ("bert-1", "bert-01")]
    assert estimate(alike) == estimate(alike[::-1])


# Seeds, and the threshold corrected for chance


def seeded(run: MakeRun, *rows: tuple[int, float], seeds: int = 3, **facts: Any) -> list[Record]:
    """DID at each (d, mean), with seeds that spread by 0.01 around it."""
    return [
        run("did", mean + 0.01 * (seed - 1), d=d, seed=seed, **facts)
        for d, mean in rows
        for seed in range(seeds)
    ]


FULL = [0.79, 0.8, 0.81]
RISE = [(10, 0.6), (30, 0.68), (100, 0.75), (300, 0.79)]


def test_with_seeds_there_is_a_fitted_d90_within_its_interval(run: MakeRun) -> None:
    full = [run("full", value, seed=seed) for seed, value in enumerate(FULL)]
    row = only([*full, *seeded(run, *RISE)])
    assert (row.verdict, row.d90, row.bracket, row.level) == ("found", 100, (30, 100), 0.9)
    low, high = row.interval
    assert row.fitted is not None
    assert low is not None
    assert high is not None
    assert 10 < low < row.fitted < high < 300
    assert 30 < row.fitted < 100


def test_one_seed_gives_the_bracket_and_no_level(run: MakeRun) -> None:
    row = only(curve(run, 0.6, 0.7, 0.75, 0.8))
    assert (row.level, row.interval) == (None, row.bracket)
    assert row.fitted is not None


def test_one_seed_of_the_baseline_is_told(run: MakeRun) -> None:
    row = only([run("full", 0.8), *seeded(run, *RISE)])
    assert row.level == 0.9
    assert row.notes == ("full fine-tuning has one seed: its variance is taken to be the runs'",)


def test_the_corrected_threshold_lies_90_percent_of_the_way_from_chance_to_full(
    run: MakeRun,
) -> None:
    row = only(curve(run, 0.6, 0.73, 0.78))
    assert row.corrected.threshold == 0.77
    assert (row.corrected.verdict, row.corrected.d90) == ("found", 1000)
    assert row.d90 == 100


def test_a_task_that_is_trivial_by_its_raw_threshold_may_have_a_corrected_d90(
    run: MakeRun,
) -> None:
    records = [run("full", 0.75, trivial=0.7), run("did", 0.7, d=10), run("did", 0.75, d=100)]
    row = only(records)
    assert (row.verdict, row.corrected.verdict, row.corrected.d90) == ("trivial", "found", 100)


def test_full_fine_tuning_no_better_than_chance_is_trivial_by_both(run: MakeRun) -> None:
    row = only([run("full", -0.02, trivial=0.0), run("did", 0.1, d=10)])
    assert (row.verdict, row.corrected.verdict) == ("trivial", "trivial")


def test_a_rate_with_few_seeds_does_not_win_by_luck(run: MakeRun) -> None:
    steady = [run("did", 0.7, d=10, seed=seed) for seed in range(3)]
    row = only([run("full", 0.8), *steady, run("did", 0.9, d=10, lr=0.3)])
    assert row.curve[0].lr == 0.1
    assert [point.lr for point in row.tried] == [0.1, 0.3]


def test_a_d_tried_only_at_a_rate_that_is_beaten_below_it_tells_nothing_of_d(run: MakeRun) -> None:
    better = [run("did", 0.6, d=10, lr=lr) for lr in (0.2, 0.3)]
    better.append(run("did", 0.74, d=100, lr=0.3))
    worse = [run("did", 0.5, d=400, lr=0.1), run("did", 0.76, d=400, lr=0.15)]
    row = only([run("full", 0.8), *better, worse[0]])
    assert [point.d for point in row.curve] == [10, 100]
    assert [point.d for point in row.tried] == [10, 10, 100, 400]
    # 0.15 at d = 400 is the step of 0.3 at d = 100, so there is no better rate left to try.
    assert [p.d for p in only([run("full", 0.8), *better, *worse]).curve] == [10, 100, 400]


@pytest.mark.parametrize(
    "facts",
    [{"rates": (0.1, 0.1, 0.07, 0.05)}, {"rates": (0.5, 0.4, 0.3, 0.2), "projection": "released"}],
)
def test_where_one_rate_was_tried_at_each_d_every_d_counts(
    run: MakeRun, facts: dict[str, Any]
) -> None:
    rates = facts.pop("rates")
    lane = zip((10, 100, 200, 400), (0.6, 0.73, 0.7, 0.74), rates, strict=True)
    row = only([run("full", 0.8), *(run("did", v, d=d, lr=lr, **facts) for d, v, lr in lane)])
    assert [point.d for point in row.curve] == [10, 100, 200, 400]
    assert row.notes == ("not monotone: below the threshold again at d = 200",)


OUTSIDE = 770
ISOMETRY = [0.01 * (10**6 / d) ** 0.5 for d in (10, 100, 400)]


@pytest.mark.parametrize(
    "facts",
    [
        {"rates": ISOMETRY, "outside": OUTSIDE},
        {"rates": (0.5, 0.3, 0.2), "rule": 0.01, "D": 10**6, "projection": "released"},
    ],
    ids=["a head outside", "no isometry"],
)
def test_one_step_of_theta_is_one_rate_at_every_d(run: MakeRun, facts: dict[str, Any]) -> None:
    rates, outside = facts.pop("rates"), facts.get("outside", 0)
    lane = [
        run("did", value, d=d + outside, lr=lr, **facts)
        for d, value, lr in zip((10, 100, 400), (0.6, 0.74, 0.7), rates, strict=True)
    ]
    thrice = {"lr": 3 * rates[1], "rule": facts.get("rule") and 3 * facts["rule"]}
    lane.append(run("did", 0.65, d=100 + outside, **(facts | thrice)))
    row = only([run("full", 0.8), *lane])
    assert [point.d - outside for point in row.curve] == [10, 100, 400]
    assert row.verdict == "found"


def test_a_run_at_another_rate_is_waited_for(run: MakeRun) -> None:
    done = [run("did", value, d=d, lr=0.1, rule=1e-3) for d, value in ((10, 0.6), (100, 0.8))]
    other = run("did", None, d=10, lr=None, rule=3e-3, status="waiting")
    row = only([run("full", 0.8), *done, other])
    assert (row.verdict, row.done, row.planned) == ("incomplete", 2, 3)
    assert row.notes[0] == "runs not done: d = 10, lr by the rule from 0.003, seed 0 (waiting)"
    assert only([run("full", 0.8), *done, replace(other, rule=1e-3)]).verdict == "found"


def test_a_rate_that_diverged_is_settled_by_another_and_a_killed_run_is_not(run: MakeRun) -> None:
    done = [run("did", value, d=d, lr=0.1, rule=1e-3) for d, value in ((10, 0.6), (100, 0.8))]
    other = run("did", None, d=10, lr=None, rule=1e-2, status="failed")
    diverged = replace(other, reason="FloatingPointError: the training loss is nan in epoch 1")
    killed = replace(other, reason="killed by SIGKILL; perhaps out of memory")
    assert only([run("full", 0.8), *done, diverged]).verdict == "found"
    assert only([run("full", 0.8), *done, killed]).verdict == "incomplete"


def test_a_failed_run_counts_its_head_outside_as_those_that_are_done_do(run: MakeRun) -> None:
    done = [run("did", v, d=d + OUTSIDE, outside=OUTSIDE) for d, v in ((10, 0.6), (100, 0.8))]
    larger = run("did", None, d=500, status="failed", lr=None)
    row = only([run("full", 0.8), *done, larger])
    assert (row.verdict, row.d90) == ("found", 100 + OUTSIDE)
    repeated = replace(larger, d=10)
    assert only([run("full", 0.8), *done, repeated]).planned == 2


def stopped(value: float) -> dict[str, Any]:
    """The facts of a run that ended in its first epoch of three."""
    return {"last": Epoch(epoch=1, value=value), "epochs": 3}


def test_a_run_that_ended_above_the_threshold_meets_it(run: MakeRun) -> None:
    row = only([*curve(run, 0.6), run("did", 0.74, d=100, **stopped(0.74))])
    assert answer(row) == ("found", 100, (10, 100))
    assert row.corrected.verdict == "incomplete"


def test_full_fine_tuning_that_ended_early_gives_no_threshold(run: MakeRun) -> None:
    runs = [run("did", value, d=d) for d, value in ((10, 0.6), (100, 0.8))]
    row = only([run("full", 0.8, **stopped(0.8)), *runs])
    assert row.verdict == "incomplete"
    assert "full fine-tuning ended before its time (trainer.stop_at)" in row.notes


def test_a_run_that_ended_early_below_a_threshold_that_has_risen_leaves_it_open(
    run: MakeRun,
) -> None:
    ended = run("did", 0.74, d=100, **stopped(0.74))
    row = only([*curve(run, 0.6, full=0.85), ended])
    assert (row.verdict, row.fitted) == ("incomplete", None)
