"""The runs that count, and those that are waited for. Full is 0.8, the threshold 0.72."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.runs.record import Record

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
    assert (row.verdict, row.d90) == ("found", 100 + OUTSIDE)
    repeated = replace(larger, d=10)
    assert only([run("full", 0.8), *done, repeated]).planned == 2
