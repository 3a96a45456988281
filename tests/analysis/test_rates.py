"""The rate and the length that count for a series. Full is 0.8, the threshold 0.72."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.analysis.rates import rank
from said_lightning.runs.record import CHOOSING, Epoch, Part, Record

MakeRun = Callable[..., Record]
OUTSIDE = 770


def only(records: list[Record]) -> Row:
    (row,) = estimate(records)
    return row


def select(value: float) -> Part:
    return Part(split="dev", rows=400, value=value, trivial=0.5)


def choosing(
    run: MakeRun, values: Mapping[float, tuple[float, ...]], method: str = "did", **facts: Any
) -> list[Record]:
    """Return the runs that choose: for each rate, the select metric of each seed."""
    place = {"d": 100} if method == "did" else {}
    return [
        run(method, 0.1, lr=lr, seed=CHOOSING + seed, select=select(value), **(place | facts))
        for lr, found in values.items()
        for seed, value in enumerate(found)
    ]


def reporting(run: MakeRun, values: dict[int, float], seeds: int = 1, **facts: Any) -> list[Record]:
    return [
        run("did", value + seed / 100, d=d, seed=seed, **facts)
        for d, value in values.items()
        for seed in range(seeds)
    ]


def full(run: MakeRun, seeds: int = 3) -> list[Record]:
    return [run("full", 0.79 + seed / 100, seed=seed) for seed in range(seeds)]


def test_seeds_of_their_own_choose_by_their_select_rows_and_report_nothing(run: MakeRun) -> None:
    chose = choosing(run, {0.1: (0.70, 0.71), 0.3: (0.74, 0.75), 0.9: (0.60, 0.61)})
    # Whatever the reporting runs show.
    worse = reporting(run, {10: 0.6, 100: 0.75}, lr=0.3)
    better = reporting(run, {10: 0.7, 100: 0.79}, lr=0.1)
    row = only([*full(run), *chose, *worse, *better])
    assert [(point.d, point.lr, point.mean) for point in row.curve] == (
        [(10, 0.3, 0.6), (100, 0.3, 0.75)]
    )
    assert (row.lr, row.verdict, row.done, row.planned) == (0.3, "found", 4, 4)
    assert len(row.tried) == 4
    assert not any("chosen" in note or "edge" in note for note in row.notes)


def test_without_them_the_reporting_seeds_choose_on_their_select_rows_and_that_is_noted(
    run: MakeRun,
) -> None:
    # By the report rows 0.1 would be best, by the select rows 0.3 is.
    runs = [
        run("did", value, d=d, lr=lr, select=select(chosen))
        for lr, value, chosen in ((0.1, 0.75, 0.7), (0.3, 0.74, 0.72), (0.9, 0.73, 0.6))
        for d in (10, 100)
    ]
    row = only([*full(run), *runs])
    assert {point.lr for point in row.curve} == {0.3}
    assert (
        "the rate of the series was chosen on the seeds that report, if on other rows" in row.notes
    )


def test_locating_runs_choose_nothing_and_report_nothing(run: MakeRun) -> None:
    runs = [*full(run), *reporting(run, {10: 0.6, 100: 0.75})]
    locate = run("did", 0.99, d=50, lr=0.9, seed=2 * CHOOSING, last=Epoch(epoch=1, value=0.99))
    assert estimate([*runs, locate]) == estimate(runs)


def test_one_rate_counts_at_every_d_and_it_is_the_best_about_the_crossing(run: MakeRun) -> None:
    values = {0.1: (0.69, 0.70, 0.73, 0.74), 0.3: (0.50, 0.71, 0.75, 0.76)}
    runs = [
        run("did", value, d=10 ** (i + 1), lr=lr)
        for lr, found in values.items()
        for i, value in enumerate(found)
    ]
    row = only([*full(run), *runs])
    assert [(point.d, point.lr) for point in row.curve] == [(10 ** (i + 1), 0.3) for i in range(4)]


def test_full_fine_tuning_is_tuned_in_the_same_way(run: MakeRun) -> None:
    rates = {2e-5: (0.7, 0.9), 5e-5: (0.81, 0.81), 1e-4: (0.5, 0.6)}
    runs = [
        run("full", value, lr=lr, seed=seed)
        for lr, values in rates.items()
        for seed, value in enumerate(values)
    ]
    row = only([*runs, run("did", 0.5, d=10)])
    assert row.baseline is not None
    assert (row.baseline.lr, row.baseline.mean, row.baseline.values) == (5e-5, 0.81, (0.81, 0.81))


def test_a_rate_with_few_seeds_does_not_win_by_luck(run: MakeRun) -> None:
    steady = [run("did", 0.7, d=10, seed=seed) for seed in range(3)]
    row = only([run("full", 0.8), *steady, run("did", 0.9, d=10, lr=0.3)])
    assert row.curve[0].lr == 0.1
    assert [point.lr for point in row.tried] == [0.1, 0.3]


def test_a_seed_that_lacks_a_d_does_not_raise_its_rate(run: MakeRun) -> None:
    steady = [
        run("did", value, d=d, seed=s) for s in (0, 1) for d, value in ((10, 0.6), (100, 0.8))
    ]
    worse = [run("did", v, d=d, lr=0.3, seed=0) for d, v in ((10, 0.5), (100, 0.75))]
    alone = run("did", 0.79, d=100, lr=0.3, seed=1)
    assert only([run("full", 0.8), *steady, *worse, alone]).curve[0].lr == 0.1


def test_rates_at_other_d_are_not_compared_with_those_about_the_crossing(run: MakeRun) -> None:
    here = [run("did", value, d=d) for d, value in ((10, 0.6), (100, 0.73))]
    larger = [run("did", value, d=d, lr=0.3) for d, value in ((100, 0.6), (1000, 0.79))]
    row = only([run("full", 0.8), *here, *larger])
    assert [point.d for point in row.curve] == [10, 100]
    assert "run at other rates or lengths alone, which do not count: d = 1,000" in row.notes


def test_stuck_runs_choose_nothing(run: MakeRun) -> None:
    chose = choosing(run, {0.1: (0.70, 0.70, 0.70), 0.3: (0.75, 0.75, 0.5), 0.9: (0.6, 0.6, 0.6)})
    runs = [*reporting(run, {10: 0.6, 100: 0.75}, lr=0.3), *reporting(run, {10: 0.6, 100: 0.75})]
    assert only([*full(run), *chose, *runs]).lr == 0.3


@pytest.mark.parametrize("tuned", ["series", "full"])
def test_the_best_rate_at_the_end_of_those_tried_is_an_edge(run: MakeRun, tuned: str) -> None:
    values = {0.1: (0.75, 0.76), 0.3: (0.70, 0.71), 0.9: (0.60, 0.61)}
    chose = choosing(run, values, "did" if tuned == "series" else "full")
    row = only([*full(run), *chose, *reporting(run, {10: 0.6, 100: 0.75}, seeds=2)])
    assert row.verdict == "edge"
    assert row.d90 is not None
    name = "the series" if tuned == "series" else "full fine-tuning"
    assert f"the best rate of {name}, 0.1, is at the edge of the 3 tried" in row.notes


def test_below_the_grid_a_better_rate_of_the_series_would_change_nothing(run: MakeRun) -> None:
    chose = choosing(run, {0.1: (0.75, 0.76), 0.3: (0.70, 0.71)})
    assert only([*full(run), *chose, *reporting(run, {10: 0.75})]).verdict == "below-grid"


def test_a_choice_by_noisy_seeds_widens_the_interval(run: MakeRun) -> None:
    runs = [*full(run), *reporting(run, {10: 0.6, 30: 0.66, 100: 0.73, 300: 0.79}, seeds=3)]

    def interval(method: str, noise: float) -> tuple[float, float]:
        means = {0.03: 0.6, 0.1: 0.72, 0.3: 0.71}
        scores = {lr: (mean - noise, mean, mean + noise) for lr, mean in means.items()}
        low, high = only([*runs, *choosing(run, scores, method)]).interval
        assert low is not None
        assert high is not None
        return low, high

    low, high = interval("did", 0.001)
    wider, same = interval("did", 0.03)
    assert wider < 0.95 * low
    assert same == pytest.approx(high, rel=0.03)
    assert interval("full", 0.03)[1] > 1.05 * high


def test_a_better_rate_at_which_nothing_reports_is_named(run: MakeRun) -> None:
    chose = choosing(run, {0.03: (0.6, 0.6), 0.1: (0.70, 0.71), 0.3: (0.75, 0.76), 0.9: (0.6, 0.6)})
    row = only([*full(run), *chose, *reporting(run, {10: 0.6, 100: 0.75}, seeds=2)])
    assert row.lr == 0.1
    assert (
        "no run of the series reports at its best rate: 0.3 was better on the select rows than 0.1"
    ) in row.notes


def test_rates_compared_by_one_seed_leave_a_doubt_that_is_named(run: MakeRun) -> None:
    chose = choosing(run, {0.03: (0.6,), 0.1: (0.71,), 0.3: (0.7,)})
    row = only([*full(run), *chose, *reporting(run, {10: 0.6, 100: 0.75}, seeds=2)])
    assert (
        "one seed compared the rates of the series: what they may lack is in no interval"
        in row.notes
    )


def test_of_several_lengths_the_shortest_within_noise_of_the_best_counts(run: MakeRun) -> None:
    def row(longer: float) -> Row:
        chose = [
            one
            for epochs, value in ((3, 0.70), (6, longer))
            for one in choosing(run, {0.1: (value - 0.01, value + 0.01)}, epochs=epochs)
        ]
        runs = [
            one for epochs in (3, 6) for one in reporting(run, {10: 0.6, 100: 0.75}, epochs=epochs)
        ]
        return only([*full(run), *chose, *runs])

    assert row(0.705).epochs == 3
    assert row(0.75).epochs == 6
    rising = "the series still improves with the longest training, 6 epochs"
    assert (rising in row(0.705).notes, rising in row(0.75).notes) == (False, True)


@pytest.mark.parametrize(
    "facts",
    [
        {"rates": (0.5, 0.3, 0.2), "outside": OUTSIDE},
        {"rates": (0.5, 0.3, 0.2), "projection": "released"},
    ],
    ids=["a head outside", "no isometry"],
)
def test_one_step_of_theta_is_one_rate_at_every_d(run: MakeRun, facts: dict[str, Any]) -> None:
    rates, outside = facts.pop("rates"), facts.get("outside", 0)
    runs = [
        run("did", value, d=d + outside, lr=lr, rule=0.01, **facts)
        for d, value, lr in zip((10, 100, 400), (0.6, 0.74, 0.7), rates, strict=True)
    ]
    thrice = run("did", 0.65, d=100 + outside, lr=3 * rates[1], rule=0.03, **facts)
    row = only([run("full", 0.8), *runs, thrice])
    assert [(point.d - outside, point.lr) for point in row.curve] == list(
        zip((10, 100, 400), rates, strict=True)
    )
    assert row.verdict == "found"


def test_a_rate_written_with_fewer_digits_is_the_same(run: MakeRun) -> None:
    runs = [run("full", 0.8, lr=5e-5), run("full", 0.82, lr=5.0000001e-5, seed=1)]
    row = only([*runs, run("did", 0.6, d=10, rule=0.3), run("did", 0.8, d=100, rule=0.1 * 3)])
    assert row.baseline is not None
    assert row.baseline.values == (0.8, 0.82)
    assert [point.d for point in row.curve] == [10, 100]


def test_one_rate_alone_is_said_to_be_compared_with_none(run: MakeRun) -> None:
    (note, *_) = only([*full(run), *reporting(run, {10: 0.6, 100: 0.75})]).notes
    assert note == "rates were not compared for the series and full fine-tuning: one was tried"


def test_the_regret_of_a_choice_is_what_its_noise_leaves_open() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 0.01, 3).tolist() for _ in range(3)]

    def regret(gap: float) -> float:
        values = {
            lr: [0.8 - gap * place + one for one in noise[place]]
            for place, lr in enumerate((0.1, 0.3, 0.9))
        }
        return rank(values, own=0.1).regret

    assert regret(0.2) < 1e-4 < 0.001 < regret(0.005) < 0.02
