"""Verdicts: with full fine-tuning at 0.8 the threshold is 0.72; the majority class scores 0.5."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.runs.record import Epoch, Record

MakeRun = Callable[..., Record]
MakeCurve = Callable[..., list[Record]]


def only(records: list[Record]) -> Row:
    (row,) = estimate(records)
    return row


def answer(row: Row) -> tuple[str, int | None, tuple[int | None, int | None]]:
    """Return the verdict and the paper's reading."""
    return row.verdict, row.grid, row.bracket


def test_d90_is_where_the_fit_crosses_and_the_papers_is_the_smallest_d_that_meets_it(
    curve: MakeCurve,
) -> None:
    row = only(curve(0.6, 0.7, 0.75, 0.8))
    assert answer(row) == ("found", 1000, (100, 1000))
    assert row.d90 == round(100 * 10 ** (0.02 / 0.05))
    assert (row.full, row.threshold, row.trivial, row.metric) == (0.8, 0.72, 0.5, "accuracy")


def test_a_tie_meets_the_threshold_whatever_floats_make_of_it(curve: MakeCurve) -> None:
    assert 0.9 * 0.8 > 0.72
    row = only(curve(0.6, 0.72))
    assert answer(row) == ("found", 100, (10, 100))
    assert row.d90 == 100


def test_a_curve_above_the_threshold_gives_an_upper_bound_and_no_number(curve: MakeCurve) -> None:
    row = only(curve(0.75, 0.8))
    assert answer(row) == ("below-grid", None, (None, 10))
    assert (row.d90, row.interval, row.level) == (None, (None, 10), None)


def test_a_curve_below_the_threshold_gives_a_lower_bound_and_no_number(curve: MakeCurve) -> None:
    row = only(curve(0.6, 0.7))
    assert answer(row) == ("above-grid", None, (100, None))
    assert (row.d90, row.interval, row.level) == (None, (100, None), None)


def test_of_a_curve_that_falls_again_the_first_d_counts_and_a_note_says_so(
    curve: MakeCurve,
) -> None:
    row = only(curve(0.6, 0.75, 0.7, 0.8))
    assert answer(row) == ("found", 100, (10, 100))
    assert "not monotone: below the threshold again at d = 1,000" in row.notes


@pytest.mark.parametrize("full", [0.55, 0.5, 0.4])
def test_a_threshold_no_better_than_the_majority_class_is_trivial(
    curve: MakeCurve, full: float
) -> None:
    assert answer(only(curve(0.49, 0.9, full=full))) == ("trivial", None, (None, None))


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


def test_without_full_fine_tuning_there_is_no_baseline(curve: MakeCurve) -> None:
    row = only(curve(0.6, 0.8)[1:])
    assert answer(row) == ("no-baseline", None, (None, None))
    assert (row.full, row.threshold, row.baseline) == (None, None, None)


@pytest.mark.parametrize("status", ["running", "preempted", "waiting"])
def test_a_baseline_under_way_is_waited_for(run: MakeRun, curve: MakeCurve, status: str) -> None:
    row = only([run("full", None, status=status, d=None), *curve(0.6, 0.8)[1:]])
    assert answer(row) == ("incomplete", None, (None, None))


def test_a_baseline_with_a_seed_missing_may_still_move_the_threshold(
    run: MakeRun, curve: MakeCurve
) -> None:
    row = only([*curve(0.6, 0.8), run("full", None, status="failed", seed=1)])
    assert answer(row) == ("incomplete", None, (None, None))
    assert "so far d = 100 meets the threshold" in row.notes


@pytest.mark.parametrize("status", ["failed", "running", "preempted"])
@pytest.mark.parametrize(
    ("missing", "verdict"), [(50, "incomplete"), (100, "incomplete"), (500, "found")]
)
def test_a_run_missing_at_or_below_the_found_d_leaves_the_answer_open(
    run: MakeRun, curve: MakeCurve, status: str, missing: int, verdict: str
) -> None:
    open_run = run("did", None, d=missing, status=status, seed=1)
    row = only([*curve(0.6, 0.75, 0.8), open_run])
    assert row.verdict == verdict
    assert (row.done, row.planned) == (3, 4)


def test_a_run_missing_anywhere_may_be_the_one_that_meets_the_threshold(
    run: MakeRun, curve: MakeCurve
) -> None:
    assert only([*curve(0.6), run("did", None, d=10**5, status="failed")]).verdict == ("incomplete")


def test_a_missing_run_of_unknown_d_leaves_the_answer_open(run: MakeRun, curve: MakeCurve) -> None:
    lost = run("did", None, d=None, status="failed", seed=1)
    assert only([*curve(0.6, 0.8), lost]).verdict == "incomplete"


def stopped(value: float) -> dict[str, Any]:
    """Return the facts of a run that ended in its first epoch of three."""
    return {"last": Epoch(epoch=1, value=value), "epochs": 3}


def test_a_run_that_ended_above_the_threshold_meets_it(run: MakeRun, curve: MakeCurve) -> None:
    whole = [replace(one, epochs=3) for one in curve(0.6)]
    row = only([*whole, run("did", 0.74, d=100, **stopped(0.74))])
    assert answer(row) == ("incomplete", 100, (10, 100))
    assert (row.d90, row.interval) == (None, (None, None))
    assert row.notes[0] == (
        "runs that trainer.stop_at ended (1 such): d90 is not fitted, and the paper's reading holds"
    )
    assert (row.corrected.verdict, row.corrected.grid) == ("incomplete", None)


def test_full_fine_tuning_that_ended_early_gives_no_threshold(run: MakeRun) -> None:
    runs = [run("did", value, d=d) for d, value in ((10, 0.6), (100, 0.8))]
    row = only([run("full", 0.8, **stopped(0.8)), *runs])
    assert row.verdict == "incomplete"
    assert "full fine-tuning ended before its time (trainer.stop_at)" in row.notes


def test_a_run_that_ended_early_below_a_threshold_that_has_risen_leaves_it_open(
    run: MakeRun,
    curve: MakeCurve,
) -> None:
    ended = run("did", 0.74, d=100, **stopped(0.74))
    row = only([*(replace(one, epochs=3) for one in curve(0.6, full=0.85)), ended])
    assert answer(row) == ("incomplete", None, (None, None))


curves = st.lists(
    st.tuples(st.integers(1, 10**6), st.floats(0.5, 1)), min_size=1, unique_by=lambda p: p[0]
)


@given(points=curves, full=st.floats(0.56, 1))
def test_the_papers_d_meets_the_threshold_and_no_smaller_one_does(
    run: MakeRun, points: list[tuple[int, float]], full: float
) -> None:
    row = only([run("full", full), *(run("did", value, d=d) for d, value in points)])
    assert row.threshold is not None
    meets = {point.d: point.mean >= row.threshold for point in row.curve}
    low, high = row.bracket
    assert row.grid == (high if low is not None else None)
    assert low is None or low == max(d for d in meets if high is None or d < high)
    assert high is None or meets[high]
    assert not any(met for d, met in meets.items() if high is None or d < high)
    assert (row.d90 is not None) == (row.verdict == "found")
    assert row.d90 is None or min(meets) <= row.d90 <= max(meets)


@given(points=curves, full=st.floats(0.56, 1))
def test_on_a_monotone_curve_d90_lies_in_the_papers_bracket(
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
    assert row.bracket == (low, high)
    assert (row.d90 is None) == (None in row.bracket)
    assert row.d90 is None or (low or 0) <= row.d90 <= (high or 0)
    assert not any(note.startswith("not monotone") for note in row.notes)
