"""The runs that count, and those that are waited for. Full is 0.8, the threshold 0.72."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.runs.record import Epoch, Record

MakeRun = Callable[..., Record]
MakeCurve = Callable[..., list[Record]]
OUTSIDE = 770


def only(records: list[Record]) -> Row:
    (row,) = estimate(records)
    return row


@pytest.mark.parametrize("method", ["full", "did"])
def test_a_run_done_at_a_second_try_counts_once(
    run: MakeRun, curve: MakeCurve, method: str
) -> None:
    facts = {"d": 10} if method == "did" else {}
    tries = [
        run(method, None, status="failed", started="2026-01-01T00:00:00Z", **facts),
        run(method, None, status="running", **(facts | {"lr": None})),
    ]
    row = only([*tries, *curve(0.6, 0.8)])
    assert (row.verdict, row.done, row.planned) == ("found", 2, 2)


def test_a_run_at_another_rate_is_waited_for(run: MakeRun) -> None:
    done = [run("did", value, d=d, lr=0.1, rule=1e-3) for d, value in ((10, 0.6), (100, 0.8))]
    other = run("did", None, d=10, lr=None, rule=3e-3, status="waiting")
    row = only([run("full", 0.8), *done, other])
    assert (row.verdict, row.done, row.planned) == ("incomplete", 2, 3)
    assert row.notes[0] == "runs not done: d = 10, lr by the rule from 0.003, seed 0 (waiting)"
    assert only([run("full", 0.8), *done, replace(other, rule=1e-3)]).verdict == "found"


@pytest.mark.parametrize("facts", [{}, {"lr": None}, {"lr": None, "rule": None}, {"epochs": None}])
def test_a_failed_try_of_a_job_that_is_done_is_not_waited_for(
    run: MakeRun, facts: dict[str, Any]
) -> None:
    made = {"lr": 0.1, "rule": 1e-3, "epochs": 3}
    done = [run("did", value, d=d, **made) for d, value in ((10, 0.6), (100, 0.8))]
    failed = run("did", None, d=10, status="failed", **(made | facts))
    row = only([run("full", 0.8), failed, *done])
    assert (row.verdict, row.done, row.planned) == ("found", 2, 2)


def test_a_run_of_another_length_is_waited_for(run: MakeRun) -> None:
    done = [run("did", value, d=d, epochs=3) for d, value in ((10, 0.6), (100, 0.8))]
    longer = run("did", None, d=10, epochs=6, status="failed")
    row = only([run("full", 0.8), *done, longer])
    assert (row.verdict, row.done, row.planned) == ("incomplete", 2, 3)


def test_of_two_runs_of_one_job_the_later_one_counts_whichever_is_read_first(
    run: MakeRun, curve: MakeCurve
) -> None:
    early, late = (
        run("did", value, d=100, started=f"2026-01-0{day}T00:00:00Z")
        for day, value in ((1, 0.74), (2, 0.76))
    )
    again = "runs of one d, rate and seed were made more than once (1 such): the latest counts"
    for pair in ([early, late], [late, early]):
        row = only([*curve(0.6), *pair])
        assert row.curve[-1].values == (0.76,)
        assert (row.done, row.planned) == (2, 2)
        assert again in row.notes


def test_a_run_to_its_end_counts_before_a_later_one_that_was_cut_off(
    run: MakeRun, curve: MakeCurve
) -> None:
    cut = {"last": Epoch(epoch=1, value=0.9), "epochs": 3, "started": "2026-02-01T00:00:00Z"}
    whole = {"last": Epoch(epoch=3, value=0.76), "epochs": 3, "started": "2026-01-01T00:00:00Z"}
    full, low = (replace(one, epochs=3) for one in curve(0.6))
    row = only([full, low, run("did", 0.76, d=100, **whole), run("did", 0.9, d=100, **cut)])
    assert row.curve[-1].values == (0.76,)


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
    assert (row.verdict, row.grid) == ("found", 100 + OUTSIDE)
    repeated = replace(larger, d=10)
    assert only([run("full", 0.8), *done, repeated]).planned == 2
