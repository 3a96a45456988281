"""The reading with several seeds, and the reading corrected for chance."""

from collections.abc import Callable
from typing import Any

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.runs.record import Record

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
    assert (row.verdict, row.d90, row.bracket, row.level) == ("found", 100, (30, 100), 0.9)
    low, high = row.interval
    assert row.fitted is not None
    assert low is not None
    assert high is not None
    assert 10 < low < row.fitted < high < 300
    assert 30 < row.fitted < 100


def test_one_seed_gives_the_bracket_and_no_level(curve: MakeCurve) -> None:
    row = only(curve(0.6, 0.7, 0.75, 0.8))
    assert (row.level, row.interval) == (None, row.bracket)
    assert row.fitted is not None


def test_the_corrected_threshold_lies_90_percent_of_the_way_from_chance_to_full(
    curve: MakeCurve,
) -> None:
    row = only(curve(0.6, 0.73, 0.78))
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


def test_one_seed_of_the_baseline_is_noted(run: MakeRun) -> None:
    row = only([run("full", 0.8), *seeded(run, *RISE)])
    assert row.level == 0.9
    assert row.notes == ("full fine-tuning has one seed: its variance is taken to be the runs'",)
