"""Which runs make a series: those that differ in d, seed, rate and epochs alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from said_lightning.analysis.estimator import estimate
from said_lightning.analysis.series import natural, series_of
from said_lightning.analysis.table import title, to_json
from said_lightning.runs.record import CHOOSING, Metric, Record

MakeRun = Callable[..., Record]
MakeCurve = Callable[..., list[Record]]

# In what runs of one series and its full fine-tuning agree, two values of each.
SHARED: dict[str, tuple[Any, Any]] = {
    "model_sha256": ("aaaa1111bbbb", "cccc2222dddd"),
    "data_sha256": ("aaaa1111bbbb", "cccc2222dddd"),
    "setting_hash": ("aaaa1111", "cccc2222"),  # as of two batch sizes
    "protocol": ("dev", "splits"),
    "metric": (
        Metric(name="accuracy", value=0.8, trivial=0.5),
        Metric(name="f1", value=0.8, trivial=0.5),
    ),
}
OWN: dict[str, tuple[Any, Any]] = {
    "D": (10**6, 2 * 10**6),
    "m": (4, 8),
    "outside": (0, 770),
    "lambda_lr": (0.001, 0.01),
}


@pytest.mark.parametrize("fact", SHARED)
def test_runs_that_differ_in_a_fact_are_series_apart_each_with_its_own_baseline(
    curve: MakeCurve, fact: str
) -> None:
    records = [
        replace(one, **{fact: value})
        if fact != "metric"
        else replace(one, metric=replace(one.metric, name=value.name))
        for value, curve_ in zip(SHARED[fact], (curve(0.6, 0.8), curve(0.5, 0.7)), strict=True)
        for one in curve_
    ]
    rows = estimate(records)
    assert [row.verdict for row in rows] == ["found", "above-grid"]
    assert [len(row.series.full) for row in rows] == [1, 1]
    assert len({row.panel for row in rows}) == 2
    assert all(row.panel and row.panel in title(row) for row in rows)
    notes = [note for row in rows for note in row.notes]
    assert not any(
        "mixes" in note or "averaged" in note or "made more than" in note for note in notes
    )


@pytest.mark.parametrize("fact", ["model_sha256", "data_sha256", "setting_hash", "protocol"])
def test_a_baseline_that_differs_in_a_fact_gives_no_verdict(curve: MakeCurve, fact: str) -> None:
    one, other = SHARED[fact]
    full, *runs = curve(0.6, 0.8)
    (row,) = estimate([replace(full, **{fact: one}), *(replace(r, **{fact: other}) for r in runs)])
    assert (row.verdict, row.d90, row.threshold, row.full) == ("no-baseline", None, None, None)


@pytest.mark.parametrize("fact", OWN)
def test_runs_that_differ_in_a_fact_of_their_own_are_series_with_one_baseline(
    curve: MakeCurve, fact: str
) -> None:
    full, *runs = curve(0.6, 0.8)
    records = [replace(one, **{fact: value}) for value in OWN[fact] for one in runs]
    rows = estimate([full, *records])
    assert [(row.verdict, row.panel) for row in rows] == [("found", "")] * 2
    assert [row.variant for row in rows] == [f"{fact} {value}" for value in OWN[fact]]


def test_runs_that_differ_in_d_seed_rate_and_epochs_are_one_series(run: MakeRun) -> None:
    runs = [
        run("did", 0.6, d=d, seed=seed, lr=lr, epochs=epochs)
        for d in (10, 100)
        for seed in (0, 1, CHOOSING)
        for lr in (0.1, 0.3)
        for epochs in (3, 6)
    ]
    (series,) = series_of([run("full", 0.8), *runs])
    assert len(series.runs) == 24
    assert (series.panel, series.variant, len(series.full)) == ("", "", 1)


def test_a_run_that_has_not_begun_joins_the_series_that_it_fits(curve: MakeCurve) -> None:
    known: dict[str, Any] = {
        "data_sha256": "new",
        "model_sha256": "m",
        "D": 10**6,
        "setting_hash": "aa",
    }
    first = [replace(one, **known) for one in curve(0.6, 0.8)]
    second = [replace(one, **(known | {"setting_hash": "bb"})) for one in curve(0.6, 0.8)]
    waiting = replace(
        second[1], status="waiting", d=20, D=None, data_sha256=None, model_sha256=None
    )
    rows = estimate([*first, *second, waiting])
    assert {row.panel: (row.done, row.planned) for row in rows} == {
        "setting aa": (2, 2),
        "setting bb": (2, 3),
    }


def test_one_that_fits_several_is_waited_for_in_each(curve: MakeCurve) -> None:
    runs = [replace(one, data_sha256=data) for data in ("new", "old") for one in curve(0.6, 0.8)]
    failed = replace(runs[1], status="failed", d=20, data_sha256=None)
    assert [row.planned for row in estimate([*runs, failed])] == [3, 3]


def test_series_of_one_panel_stand_together_and_names_sort_by_their_numbers(run: MakeRun) -> None:
    runs = [
        run(method, 0.7, d=10, model=model, setting_hash=setting)
        for method in ("said", "did")
        for model in ("m-300", "m-20", "m-3000")
        for setting in ("bb", "aa")
    ]
    rows = estimate(runs)
    assert [(row.model, row.panel, row.method) for row in rows] == [
        (model, f"setting {setting}", method)
        for model in ("m-20", "m-300", "m-3000")
        for setting in ("aa", "bb")
        for method in ("did", "said")
    ]
    assert to_json(estimate(runs[::-1])) == to_json(rows)
    assert natural("step 300") < natural("step 10000")


def test_what_no_name_and_no_fact_tells_apart_is_called_nothing(curve: MakeCurve) -> None:
    (row,) = estimate([replace(one, data_sha256="a", setting_hash="b") for one in curve(0.6, 0.8)])
    assert (row.panel, row.variant, title(row)) == ("", "", "minilm · sst2")
