"""The reading with several seeds, and the reading corrected for chance."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.analysis.table import to_json
from said_lightning.runs.record import Part, Record
from said_lightning.runs.scores import write_scores

MakeRun = Callable[..., Record]
MakeCurve = Callable[..., list[Record]]

FULL = [0.79, 0.8, 0.81]
RISE = [(10, 0.6), (30, 0.68), (100, 0.75), (300, 0.79)]


def only(records: list[Record]) -> Row:
    (row,) = estimate(records)
    return row


def seeded(run: MakeRun, *rows: tuple[int, float], seeds: int = 3, **facts: Any) -> list[Record]:
    """Return DID at each (d, mean), with seeds that spread by 0.01 around it."""
    return [
        run("did", mean + 0.01 * (seed - 1), d=d, seed=seed, **facts)
        for d, mean in rows
        for seed in range(seeds)
    ]


def test_with_seeds_there_is_a_fitted_d90_within_its_interval(run: MakeRun) -> None:
    full = [run("full", value, seed=seed) for seed, value in enumerate(FULL)]
    row = only([*full, *seeded(run, *RISE)])
    assert (row.verdict, row.grid, row.bracket, row.level) == ("found", 100, (30, 100), 0.9)
    low, high = row.interval
    assert row.d90 is not None
    assert low is not None
    assert high is not None
    assert 10 < low < row.d90 < high < 300
    assert 30 < row.d90 < 100


def test_one_seed_gives_a_d90_and_no_interval(curve: MakeCurve) -> None:
    row = only(curve(0.6, 0.7, 0.75, 0.8))
    assert (row.level, row.interval, row.parts) == (None, (None, None), {})
    assert row.d90 is not None
    assert row.price is None
    assert row.sensitivity[0.9] == pytest.approx(row.d90, abs=0.5)


def test_with_seeds_it_is_said_what_the_width_comes_from_and_what_less_costs(run: MakeRun) -> None:
    full = [run("full", value, seed=seed) for seed, value in enumerate(FULL)]
    row = only([*full, *seeded(run, *RISE)])
    assert set(row.parts) == {"seeds", "rows", "between"}
    assert row.price is not None
    assert row.price.startswith("x1.5 at the scatter seen")
    assert row.full_less is not None
    assert row.full_more is not None
    assert row.d90 is not None
    assert row.full_less < row.d90 < row.full_more


def test_the_scores_of_report_rows_are_paired(run: MakeRun, tmp_path: Path) -> None:
    """Runs that have the same rows right leave less open than runs that have other ones right."""
    hard = (np.random.default_rng(0).permutation(400) + 0.5) / 400
    records = []
    full = [run("full", value, seed=seed) for seed, value in enumerate(FULL)]
    for i, one in enumerate([*full, *seeded(run, *RISE)]):
        (folder := tmp_path / str(i)).mkdir()
        scores = write_scores(folder, (hard < (one.metric.value or 0)).astype(float))
        records.append(replace(one, scores=scores, folder=folder))
    report = Part(split="test", rows=400, value=None, trivial=None)
    metrics = [replace(one, scores=None, report=report) for one in records]
    paired, alone = only(records), only(metrics)
    assert paired.rows is None
    assert alone.rows == 400
    assert paired.parts["rows"] < alone.parts["rows"]
    assert paired.d90 == pytest.approx(alone.d90, rel=0.05)
    # One run without its scores, and none is paired.
    assert only([*records[:-1], metrics[-1]]).parts["rows"] == alone.parts["rows"]


@pytest.mark.parametrize("values", [(0.75, 0.8), (0.5, 0.6)])
def test_out_of_the_range_one_end_is_open_and_json_can_hold_it(
    run: MakeRun, values: tuple[float, float]
) -> None:
    full = [run("full", value, seed=seed) for seed, value in enumerate(FULL)]
    row = only([*full, *seeded(run, *zip((10, 100), values, strict=True))])
    assert row.d90 is None
    assert row.interval == ((None, 10) if values[0] == 0.75 else (100, None))
    (line,) = json.loads(to_json([row]))
    assert line["interval"] == list(row.interval)


def test_the_corrected_threshold_lies_90_percent_of_the_way_from_chance_to_full(
    curve: MakeCurve,
) -> None:
    row = only(curve(0.6, 0.73, 0.78))
    assert row.corrected.threshold == 0.77
    assert (row.corrected.verdict, row.corrected.grid) == ("found", 1000)
    assert row.grid == 100
    assert row.d90 is not None
    assert row.corrected.d90 is not None
    assert row.d90 < 100 < row.corrected.d90 < 1000


def test_a_task_that_is_trivial_by_its_raw_threshold_may_have_a_corrected_d90(
    run: MakeRun,
) -> None:
    records = [run("full", 0.75, trivial=0.7), run("did", 0.7, d=10), run("did", 0.75, d=100)]
    row = only(records)
    assert (row.verdict, row.corrected.verdict, row.corrected.grid) == ("trivial", "found", 100)


def test_full_fine_tuning_no_better_than_chance_is_trivial_by_both(run: MakeRun) -> None:
    row = only([run("full", -0.02, trivial=0.0), run("did", 0.1, d=10)])
    assert (row.verdict, row.corrected.verdict) == ("trivial", "trivial")


def test_one_seed_of_the_baseline_is_noted(run: MakeRun) -> None:
    row = only([run("full", 0.8), *seeded(run, *RISE)])
    assert row.level == 0.9
    assert row.notes[-1] == "full fine-tuning has one seed: its variance is taken to be the runs'"
