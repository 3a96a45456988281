"""What a row notes besides its numbers. Full is 0.8, the threshold 0.72."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.runs.record import Metric, Record

MakeRun = Callable[..., Record]
MakeCurve = Callable[..., list[Record]]


def only(records: list[Record]) -> Row:
    (row,) = estimate(records)
    return row


def test_a_baseline_that_failed_is_no_baseline_and_its_reason_is_noted(
    run: MakeRun, curve: MakeCurve
) -> None:
    failed = run("full", None, status="failed", reason="out of\n  memory", lr=5e-5)
    row = only([failed, *curve(0.6, 0.8)[1:]])
    assert row.verdict == "no-baseline"
    assert row.notes == ("full fine-tuning not done: lr = 5e-05, seed 0 (failed: out of memory)",)


def test_a_done_run_without_a_metric_is_missing(run: MakeRun, curve: MakeCurve) -> None:
    row = only([*curve(0.6, 0.8), run("did", None, d=20)])
    assert row.verdict == "incomplete"
    assert row.notes[0] == "runs not done: d = 20, lr = 0.1, seed 0 (without a metric)"


def test_many_missing_runs_are_noted_by_the_first_few(run: MakeRun, curve: MakeCurve) -> None:
    lost = [run("did", None, d=d, status="running") for d in range(20, 30)]
    (note, _) = only([*curve(0.6, 0.8), *lost]).notes
    assert note.startswith("runs not done: d = 20, lr = 0.1, seed 0 (running); d = 21")
    assert note.endswith("and 7 more")


@pytest.mark.parametrize("key", ["data_sha256", "model_sha256"])
def test_runs_on_different_data_or_weights_are_not_mixed_silently(run: MakeRun, key: str) -> None:
    records = [
        run("full", 0.8, **{key: "new"}),
        run("did", 0.6, d=10, **{key: "old"}),
        run("did", 0.8, d=100, **{key: "old"}),
    ]
    assert only(records).notes == (f"mixes runs of different {key}: new, old",)


@pytest.mark.parametrize(
    ("facts", "noted"),
    [
        ({"epochs": (3, 10)}, "epochs: 10, 3"),
        ({"setting_hash": ("aa", "bb")}, "setting (see config.yaml): aa, bb"),
    ],
)
def test_runs_of_different_epochs_or_settings_are_not_mixed_silently(
    curve: MakeCurve, facts: dict[str, Any], noted: str
) -> None:
    ((key, (one, other)),) = facts.items()
    full, first, second = curve(0.6, 0.8)
    alike = [replace(record, **{key: one}) for record in (full, first)]
    assert only([*alike, second]).notes == ()
    records = [*alike, replace(second, **{key: other})]
    assert only(records).notes == (f"mixes runs of different {noted}",)


def test_different_metrics_are_not_mixed_silently(run: MakeRun, curve: MakeCurve) -> None:
    f1 = run("full", None, metric=Metric(name="f1", value=0.8, trivial=0.5))
    row = only([f1, *curve(0.6, 0.8)[1:]])
    assert "mixes runs of different metric: accuracy, f1" in row.notes


def test_different_results_of_the_same_job_are_averaged_and_noted(
    run: MakeRun, curve: MakeCurve
) -> None:
    row = only([*curve(0.6, 0.74), run("did", 0.76, d=100)])
    assert row.curve[1] == (100, 0.75, 0.1, (0.75,))
    assert (row.done, row.seeds) == (2, 1)
    assert row.notes == ("averaged: runs of the same d, lr and seed that disagree (1 such)",)


def test_numbers_of_a_head_outside_the_subspace_are_shown(run: MakeRun) -> None:
    row = only([run("full", 0.8), run("did", 0.6, d=1770, outside=770)])
    assert row.notes == ("d counts 770 numbers of a head outside the subspace",)
