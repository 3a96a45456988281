"""What a width costs, said before the runs are made."""

import numpy as np
import pytest

from said_lightning.analysis.d90 import Estimate, estimate
from said_lightning.analysis.price import POINTS, expected_width, price


def measured(scatter: float = 0.015, seeds: int = 3, rows: int | None = None) -> Estimate:
    """Return an estimate whose curve crosses its threshold amid six d."""
    rng = np.random.default_rng(0)
    points = {
        50 * 2**i: {seed: 0.62 + 0.04 * i + rng.normal(0, scatter) for seed in range(seeds)}
        for i in range(6)
    }
    return estimate(
        points, {seed: 0.8 + rng.normal(0, scatter) for seed in range(seeds)}, rows=rows
    )


def test_with_no_more_runs_the_width_to_expect_is_the_one_there_is() -> None:
    found = measured()
    assert found.spread is not None
    assert np.log(expected_width(found.spread, 0)) == pytest.approx(np.log(found.width), rel=0.15)


def test_a_narrower_interval_costs_more() -> None:
    found = measured()
    runs = [price(found, found.width**part).runs for part in (1.2, 0.8, 0.6)]
    assert runs[0] == 0
    assert None not in runs
    assert runs == sorted(runs, key=lambda one: one or 0)
    assert runs[1] != runs[2]


def test_a_price_is_in_whole_seeds_and_says_so() -> None:
    cost = price(measured(), 1.6)
    assert cost.seeds is not None
    assert cost.runs == cost.seeds * (POINTS + 1)
    assert cost.sentence == f"x1.6 at the scatter seen wants about {cost.runs} more runs"


def test_the_same_width_costs_more_where_runs_scatter_more() -> None:
    calm, wild = price(measured(0.01), 1.7).runs, price(measured(0.02), 1.7).runs
    assert calm is not None
    assert wild is None or wild > calm


def test_a_width_that_report_rows_alone_exceed_is_out_of_reach() -> None:
    cost = price(measured(rows=100), 1.3)
    assert (cost.runs, cost.seeds) == (None, None)
    assert "out of reach" in cost.sentence
    assert "the report rows alone leave x" in cost.sentence


def test_without_repeated_seeds_nothing_is_priced() -> None:
    single = estimate({10: {0: 0.5}, 100: {0: 0.8}}, {0: 0.8})
    assert price(single, 1.5).runs is None
    assert "differ in their seed alone" in price(single, 1.5).sentence
