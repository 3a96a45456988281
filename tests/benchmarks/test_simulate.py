"""Simulated series: the interval holds the truth as often as it says, the search finds d90.

The whole of it, 1,000 series each, is in results/simulated, made by
`python -m benchmarks.simulate results/simulated`; here, fewer series are made again.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulate import PAPER_GRID, RATES, compare, coverage, draw

RESULTS = Path(__file__).parents[2] / "results" / "simulated"


def test_the_interval_holds_the_true_d90_of_1000_series_on_every_design() -> None:
    designs = json.loads((RESULTS / "coverage.json").read_text())
    assert {design["lanes"] for design in designs} == {1000}
    assert PAPER_GRID in {(one["points"], one["seeds"], one["rates"]) for one in designs}
    assert all(0.85 <= design["held"] <= 0.97 for design in designs)


def test_the_search_finds_the_grids_answer_with_a_twentieth_of_its_runs() -> None:
    found = json.loads((RESULTS / "search.json").read_text())
    assert (found["lanes"], found["grid_runs"]) == (1000, 768)
    assert found["search_runs"]["most"] <= 768 / 20
    assert found["within_one_grid_step"]["search, grid"] >= 0.9
    assert 0.85 <= found["search_interval_holds_truth"] <= 0.97


def test_an_interval_made_now_holds_as_the_results_say() -> None:
    assert 0.85 <= coverage(200, (10, 3, 1))["held"] <= 0.97


def test_a_search_made_now_agrees_as_the_results_say() -> None:
    found = compare(30)
    assert found["search_runs"]["most"] <= 38
    assert found["within_one_grid_step"]["search, grid"] >= 0.9


@pytest.mark.parametrize("seed", range(20))
def test_a_simulated_series_crosses_its_threshold_at_its_d90(seed: int) -> None:
    rng = np.random.default_rng(seed)
    series = draw(rng)
    at = 10**series.x90
    means = [
        np.mean(max((series.run(rng, d, r, 4000) for r in RATES), key=np.mean))
        for d in (at / 3, at, at * 3)
    ]
    assert means[0] <= means[1] + 0.002
    assert means[1] == pytest.approx(0.9 * series.full, abs=0.003)
    assert means[1] <= means[2] + 0.002
