"""Runs that never left the trivial score: recognised, set aside and named."""

import pytest

from said_lightning.analysis.d90 import estimate
from said_lightning.analysis.stuck import Run, stuck_runs

TRIVIAL = 0.5
CURVE = {
    50: {0: 0.63, 1: 0.64, 2: 0.65},
    200: {0: 0.69, 1: 0.70, 2: 0.71},
    800: {0: 0.75, 1: 0.76, 2: 0.77},
}
FULL = {0: 0.79, 1: 0.80, 2: 0.81}


def planted(d: int, seed: int, value: float = TRIVIAL) -> dict[int, dict[int, float]]:
    """Return the curve with one run at another metric."""
    return {at: {**cell, seed: value} if at == d else cell for at, cell in CURVE.items()}


@pytest.mark.parametrize("d", [50, 200, 800])
@pytest.mark.parametrize("value", [TRIVIAL, 0.49, 0.51])
def test_a_run_at_the_trivial_score_is_named_and_set_aside(d: int, value: float) -> None:
    found = estimate(planted(d, 1, value), FULL, trivial=TRIVIAL)
    assert found.stuck == (Run(d, 1),)
    assert found.runs == 8
    without = {at: {s: v for s, v in c.items() if (at, s) != (d, 1)} for at, c in CURVE.items()}
    assert (found.low, found.high) == (estimate(without, FULL).low, estimate(without, FULL).high)


def test_nobody_is_stuck_on_an_ordinary_curve() -> None:
    assert estimate(CURVE, FULL, trivial=TRIVIAL).stuck == ()


def test_without_a_trivial_score_nobody_is() -> None:
    assert estimate(planted(200, 1), FULL).stuck == ()


def test_full_fine_tuning_may_be_stuck_too() -> None:
    found = estimate(CURVE, {**FULL, 1: TRIVIAL}, trivial=TRIVIAL)
    assert found.stuck == (Run(None, 1),)
    assert found.full == pytest.approx(0.8)


def test_a_d_whose_runs_are_all_stuck_is_no_point_of_the_curve() -> None:
    stuck = {**CURVE, 400: dict.fromkeys(range(3), TRIVIAL)}
    found = estimate(stuck, FULL, trivial=TRIVIAL)
    assert found.stuck == (Run(400, 0), Run(400, 1), Run(400, 2))
    assert found.d == (50, 200, 800)
    assert found.d90 == estimate(CURVE, FULL).d90


def test_small_d_at_which_most_runs_learn_nothing_are_the_curve() -> None:
    low = {5: {0: 0.50, 1: 0.51, 2: 0.50}, 15: {0: 0.50, 1: 0.56, 2: 0.50}, **CURVE}
    assert estimate(low, FULL, trivial=TRIVIAL).stuck == ()


def test_where_scatter_reaches_the_trivial_score_a_low_run_is_not_stuck() -> None:
    noisy: dict[int | None, dict[int, float]] = {
        10: {0: 0.70, 1: 0.64, 2: 0.76},
        20: {0: 0.72, 1: 0.65, 2: 0.78},
    }
    assert stuck_runs(noisy, 0.63, 0.72) == []


def test_a_threshold_at_the_trivial_score_leaves_nothing_to_tell_apart() -> None:
    assert stuck_runs({10: {0: 0.5, 1: 0.9}}, 0.5, 0.5) == []
