"""d90 from scores alone: where the fit crosses, what its interval holds, and what moves it."""

import time
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from numpy import ndarray
from numpy.testing import assert_allclose
from sklearn.isotonic import isotonic_regression

from said_lightning.analysis.crossing import crossing
from said_lightning.analysis.d90 import Estimate, estimate
from said_lightning.errors import UserError

Rows = Float[ndarray, " rows"]
Metrics = dict[int, float]

D = (50, 100, 200, 400, 800, 1600)
FULL = {0: 0.79, 1: 0.8, 2: 0.81}


def rise(scatter: float = 0.01, seeds: int = 3) -> dict[int, Metrics]:
    """Return metrics that rise by 0.04 with each doubling of d, and cross 0.72 at 283."""
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((len(D), seeds))
    noise = (noise - noise.mean(1, keepdims=True)) / noise.std(1, keepdims=True, ddof=1)
    return {
        d: {seed: 0.62 + 0.04 * i + scatter * float(noise[i, seed]) for seed in range(seeds)}
        for i, d in enumerate(D)
    }


def scored(
    seeds: int = 4, rows: int = 600, key: int = 0
) -> tuple[dict[int, dict[int, Rows]], dict[int, Rows]]:
    """Return row scores of the same rise; runs agree on which rows are hard."""
    rng = np.random.default_rng(key)
    hard = rng.random(rows)

    def run(mean: float) -> Rows:
        return ((0.7 * hard + 0.3 * rng.random(rows)) < mean).astype(float)

    points = {
        d: {s: run(0.62 + 0.04 * i + rng.normal(0, 0.01)) for s in range(seeds)}
        for i, d in enumerate(D)
    }
    return points, {s: run(0.8 + rng.normal(0, 0.01)) for s in range(seeds)}


def log_width(one: Estimate) -> float:
    assert one.low is not None
    assert one.high is not None
    return float(np.log(one.high / one.low))


@given(
    y=st.lists(st.floats(0, 1), min_size=2, max_size=12),
    level=st.floats(0.05, 0.95),
    data=st.data(),
)
def test_the_crossing_is_that_of_the_whole_isotonic_fit(
    y: list[float], level: float, data: st.DataObject
) -> None:
    weight = np.array(data.draw(st.lists(st.integers(1, 9), min_size=len(y), max_size=len(y))))
    x = np.arange(len(y), dtype=float)
    whole = isotonic_regression(np.array(y), sample_weight=weight.astype(float))
    (found,) = crossing(x, np.array([y]), weight.astype(float), np.array([level]))
    if abs(whole - level).min() < 1e-9:
        return  # a tie, which rounding decides
    k = int((whole < level).sum())
    if k in (0, len(y)):
        assert found == (-np.inf if k == 0 else np.inf)
    else:
        assert_allclose(found, np.interp(level, whole[k - 1 : k + 1], x[k - 1 : k + 1]), atol=1e-6)


def test_d90_lies_where_the_curve_crosses_and_within_its_interval() -> None:
    found = estimate(rise(), FULL)
    assert found.threshold == pytest.approx(0.72)
    assert found.d90 == pytest.approx(100 * 2**1.5, rel=1e-6)
    low, middle, high = (end or 0 for end in (found.low, found.d90, found.high))
    assert 50 < low < middle < high < 1600
    assert not found.below
    assert not found.above


def test_a_tie_meets_the_level() -> None:
    assert estimate({10: {0: 0.6}, 100: {0: 0.72}}, {0: 0.8}).d90 == pytest.approx(100)


def test_an_interval_beyond_the_range_says_from_where() -> None:
    every = estimate({10: {0: 0.8, 1: 0.81}, 100: {0: 0.82, 1: 0.83}}, {0: 0.8, 1: 0.8})
    none = estimate({10: {0: 0.5, 1: 0.51}, 100: {0: 0.52, 1: 0.53}}, {0: 0.8, 1: 0.8})
    assert (every.d90, every.below, every.above) == (None, True, False)
    assert (none.d90, none.below, none.above) == (None, False, True)
    assert every.low is None
    assert every.high == pytest.approx(10)
    assert none.low == pytest.approx(100)
    assert none.high is None


def test_one_seed_gives_no_interval() -> None:
    found = estimate({10: {0: 0.5}, 100: {0: 0.8}}, {0: 0.8, 1: 0.82})
    assert (found.level, found.low, found.high, found.spread) == (None, None, None, None)
    assert found.d90 is not None


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=1, max_size=8))
def test_every_number_lies_in_the_range_that_was_run_and_d90_in_its_interval(
    cells: list[list[float]],
) -> None:
    points = {10 * 2**i: dict(enumerate(values)) for i, values in enumerate(cells)}
    found = estimate(points, {0: 0.8, 1: 0.85}, draws=200)
    for number in (found.d90, found.low, found.high):
        assert number is None or 10 <= number * (1 + 1e-9) <= max(points) * (1 + 2e-9)
    if found.level is not None:
        middle = 0.0 if found.below else found.d90 or np.inf
        assert (found.low or 0.0) <= middle <= (found.high or np.inf)


def test_more_scatter_and_fewer_seeds_make_the_interval_wider() -> None:
    narrow, middle, wide = (log_width(estimate(rise(s), FULL)) for s in (0.002, 0.01, 0.02))
    assert narrow < middle < wide
    many = dict(enumerate(np.tile(list(FULL.values()), 4).tolist()))
    assert log_width(estimate(rise(0.01, 12), many)) < middle


def test_few_seeds_pay_more_than_their_number() -> None:
    def seeds_part(seeds: int) -> float:
        full = {seed: 0.8 + 0.01 * float(z) for seed, z in enumerate(_spread(seeds))}
        return float(np.log(estimate(rise(0.01, seeds), full).parts["seeds"]))

    assert seeds_part(3) > 1.1 * (12 / 3) ** 0.5 * seeds_part(12)


def _spread(seeds: int) -> Float[ndarray, " seeds"]:
    values = np.arange(seeds) - (seeds - 1) / 2
    return values / values.std(ddof=1)


def test_seeds_that_agree_by_luck_scatter_no_less_than_their_rows_would() -> None:
    same = {d: dict.fromkeys(cell, cell[0]) for d, cell in rise(0.0).items()}
    full = dict.fromkeys(FULL, 0.8)
    bare, floored = estimate(same, full), estimate(same, full, rows=400)
    assert bare.parts["seeds"] == pytest.approx(1.0)
    assert floored.parts["seeds"] > 1.2
    # With row scores: every run has as many rows right as the others of its d, but other ones.
    rng = np.random.default_rng(0)
    base = {d: np.arange(400) < round(400 * cell[0]) for d, cell in same.items()}
    shuffled = {
        d: {seed: rng.permutation(rows).astype(float) for seed in FULL} for d, rows in base.items()
    }
    top = {seed: rng.permutation(np.arange(400) < 320).astype(float) for seed in FULL}
    found = estimate(shuffled, top)
    assert {float(rows.mean()) for rows in shuffled[50].values()} == {same[50][0]}
    assert found.parts["seeds"] > 1.2


def test_neither_the_order_of_seeds_d_and_rows_nor_their_names_count() -> None:
    points, full = scored()
    one = estimate(points, full)
    order = np.random.default_rng(1).permutation(600)
    turned = {
        d: {10 + s: rows[order] for s, rows in reversed(list(points[d].items()))}
        for d in reversed(points)
    }
    other = estimate(turned, {10 + s: full[s][order] for s in reversed(full)})
    assert other.d90 == pytest.approx(one.d90)
    assert other.low == pytest.approx(one.low, rel=1e-2)  # where rounding alone differs
    assert other.high == pytest.approx(one.high, rel=1e-2)


def test_d_ten_times_as_large_gives_a_d90_ten_times_as_large() -> None:
    one, other = estimate(rise(), FULL), estimate({10 * d: c for d, c in rise().items()}, FULL)
    for name in ("d90", "low", "high"):
        assert getattr(other, name) == pytest.approx(10 * getattr(one, name), rel=1e-6)


def test_the_same_scores_give_the_same_interval() -> None:
    one, other = estimate(rise(), FULL), estimate(rise(), FULL)
    assert (one.low, one.high, one.parts) == (other.low, other.high, other.parts)


@pytest.mark.parametrize("key", range(4))
def test_another_bootstrap_seed_moves_no_end_by_more_than_3_percent(key: int) -> None:
    points, full = scored(seeds=3, key=key)
    ends = np.array([[e.low, e.high] for e in (estimate(points, full, seed=s) for s in range(8))])
    assert (ends.astype(float).max(0) / ends.astype(float).min(0) < 1.03).all()


def test_rows_that_are_the_same_for_full_fine_tuning_are_paired() -> None:
    points, full = scored()
    rng = np.random.default_rng(0)
    order = rng.permutation(600)
    apart = {seed: rows[order] for seed, rows in full.items()}
    paired, alone = estimate(points, full), estimate(points, apart)
    assert alone.parts["rows"] > 1.3 * paired.parts["rows"]
    assert log_width(alone) > log_width(paired)


def test_seeds_that_move_the_curve_and_full_fine_tuning_together_are_paired() -> None:
    effect = dict(enumerate((-0.02, -0.01, 0.0, 0.01, 0.02)))
    points = {
        d: {seed: cell[seed] + effect[seed] for seed in effect}
        for d, cell in rise(0.003, 5).items()
    }
    together = {seed: 0.8 + effect[seed] / 0.9 for seed in effect}
    apart = {seed + 10: value for seed, value in together.items()}
    paired, alone = estimate(points, together), estimate(points, apart)
    assert np.log(paired.parts["seeds"]) < 0.7 * np.log(alone.parts["seeds"])
    assert log_width(paired) < log_width(alone)


def test_the_parts_of_the_width_are_those_of_seeds_rows_and_gaps() -> None:
    few, many = estimate(*scored(rows=300)), estimate(*scored(rows=6000))
    assert few.parts["rows"] > 1.05 * many.parts["rows"]
    assert estimate(rise(), FULL).parts["rows"] == 1.0
    coarse = {d: cell for d, cell in rise().items() if d in (50, 200, 800)}
    assert estimate(coarse, FULL).parts["between"] > 1.2 * estimate(rise(), FULL).parts["between"]


def test_what_another_share_and_another_full_metric_would_give_stands_beside() -> None:
    found = estimate(rise(), FULL)
    assert sorted(found.sensitivity) == [0.8, 0.85, 0.9, 0.95]
    assert found.sensitivity[0.9] == found.d90
    assert list(found.sensitivity.values()) == sorted(found.sensitivity.values())
    better = estimate(rise(), {seed: value + 0.01 for seed, value in FULL.items()})
    assert found.full_more == pytest.approx(better.d90)
    assert found.full_less is not None
    assert found.d90 is not None
    assert found.full_less < found.d90


def test_the_threshold_may_have_an_offset() -> None:
    assert estimate(rise(), FULL, share=0.5, offset=0.32).d90 == pytest.approx(100 * 2**1.5)


@pytest.mark.parametrize(
    ("points", "full", "message"),
    [
        ({}, {0: 0.8}, "points: expected"),
        ({10: {}}, {0: 0.8}, "points: expected"),
        ({10: {0: 0.7}}, {}, "full: expected"),
        ({10: {0: np.ones(5)}}, {0: np.ones(6)}, "found 5, 6"),
        ({10: {0: 0.5}}, {0: np.ones(6)}, "found 6, a metric"),
        ({10: {0: float("nan")}}, {0: 0.8}, "finite"),
    ],
)
def test_scores_that_cannot_be_read_are_refused(
    points: Mapping[int, Mapping[int, float | Rows]],
    full: Mapping[int, float | Rows],
    message: str,
) -> None:
    with pytest.raises(UserError, match=message):
        estimate(points, full)


def test_scores_of_a_byte_a_row_do() -> None:
    points, full = scored()
    small = {
        d: {s: rows.astype(np.uint8) for s, rows in cell.items()} for d, cell in points.items()
    }
    found = estimate(small, {s: rows.astype(np.uint8) for s, rows in full.items()})
    assert found.high == estimate(points, full).high


def test_an_estimate_of_40_runs_with_1800_rows_takes_a_blink() -> None:
    points, full = scored(seeds=5, rows=1800)
    estimate(points, full)
    start = time.process_time()
    estimate(points, full)
    assert time.process_time() - start < 1.0  # 0.1 s, annotations unchecked and alone
