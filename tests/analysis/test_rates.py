"""The learning rate that counts at each d. Full is 0.8, the threshold 0.72."""

from collections.abc import Callable
from typing import Any

import pytest

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.runs.record import Record

MakeRun = Callable[..., Record]
OUTSIDE = 770
ISOMETRY = [0.01 * (10**6 / d) ** 0.5 for d in (10, 100, 400)]


def only(records: list[Record]) -> Row:
    (row,) = estimate(records)
    return row


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


def test_a_rate_with_few_seeds_does_not_win_by_luck(run: MakeRun) -> None:
    steady = [run("did", 0.7, d=10, seed=seed) for seed in range(3)]
    row = only([run("full", 0.8), *steady, run("did", 0.9, d=10, lr=0.3)])
    assert row.curve[0].lr == 0.1
    assert [point.lr for point in row.tried] == [0.1, 0.3]


def test_a_d_tried_only_at_a_rate_that_is_beaten_below_it_is_left_out(run: MakeRun) -> None:
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
    points = zip((10, 100, 200, 400), (0.6, 0.73, 0.7, 0.74), rates, strict=True)
    row = only([run("full", 0.8), *(run("did", v, d=d, lr=lr, **facts) for d, v, lr in points)])
    assert [point.d for point in row.curve] == [10, 100, 200, 400]
    assert row.notes == ("not monotone: below the threshold again at d = 200",)


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
    runs = [
        run("did", value, d=d + outside, lr=lr, **facts)
        for d, value, lr in zip((10, 100, 400), (0.6, 0.74, 0.7), rates, strict=True)
    ]
    thrice = {"lr": 3 * rates[1], "rule": facts.get("rule") and 3 * facts["rule"]}
    runs.append(run("did", 0.65, d=100 + outside, **(facts | thrice)))
    row = only([run("full", 0.8), *runs])
    assert [point.d - outside for point in row.curve] == [10, 100, 400]
    assert row.verdict == "found"
