"""What a row notes besides its numbers. Full is 0.8, the threshold 0.72."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.runs.record import CHOOSING, Record
from said_lightning.runs.scores import SCORES, write_scores

MakeRun = Callable[..., Record]
MakeCurve = Callable[..., list[Record]]


def only(records: list[Record]) -> Row:
    (row,) = estimate(records)
    return row


def noted(row: Row) -> list[str]:
    """Return the notes besides those on rates and seeds, which all rows here have."""
    always = ("rates were not compared", "one seed at each d", "full fine-tuning has one seed")
    return [note for note in row.notes if not note.startswith(always)]


def test_a_baseline_that_failed_is_no_baseline_and_its_reason_is_noted(
    run: MakeRun, curve: MakeCurve
) -> None:
    failed = run("full", None, status="failed", reason="out of\n  memory", lr=5e-5)
    row = only([failed, *curve(0.6, 0.8)[1:]])
    assert row.verdict == "no-baseline"
    assert noted(row) == [
        "full fine-tuning not done: lr = 5e-05, seed 0 (failed: out of memory)",
    ]


def test_a_done_run_without_a_metric_is_missing(run: MakeRun, curve: MakeCurve) -> None:
    row = only([*curve(0.6, 0.8), run("did", None, d=20)])
    assert row.verdict == "incomplete"
    assert row.notes[0] == "runs not done: d = 20, lr = 0.1, seed 0 (without a metric)"


def test_many_missing_runs_are_noted_by_the_first_few(run: MakeRun, curve: MakeCurve) -> None:
    lost = [run("did", None, d=d, status="running") for d in range(20, 30)]
    (note, _) = noted(only([*curve(0.6, 0.8), *lost]))
    assert note.startswith("runs not done: d = 20, lr = 0.1, seed 0 (running); d = 21")
    assert note.endswith("and 7 more")


def test_the_protocol_whose_report_rows_choose_is_noted(curve: MakeCurve) -> None:
    records = [replace(one, protocol="dev") for one in curve(0.6, 0.8)]
    row = only(records)
    assert row.protocol == "dev"
    assert row.notes[0] == "protocol=dev: the rows that report also chose the epoch and the rate"
    splits = only([replace(one, protocol="splits") for one in records])
    assert (splits.protocol, noted(splits)) == ("splits", [])


def test_one_seed_is_noted_whether_or_not_the_fit_crosses(run: MakeRun, curve: MakeCurve) -> None:
    for values in ((0.6, 0.8), (0.75, 0.8), (0.5, 0.6)):
        assert "one seed at each d: no interval" in only(curve(*values)).notes
    two = [run("did", 0.61, d=10, seed=1), run("did", 0.79, d=100, seed=1)]
    row = only([*curve(0.6, 0.8), *two])
    assert row.level == 0.9
    assert row.notes[-1] == "full fine-tuning has one seed: its variance is taken to be the runs'"


def test_a_stuck_run_is_named_and_no_point_of_the_curve_counts_it(run: MakeRun) -> None:
    runs = [
        run("did", 0.5 if (d, seed) == (100, 1) else value + seed / 100, d=d, seed=seed)
        for d, value in ((10, 0.62), (30, 0.67), (100, 0.74))
        for seed in range(3)
    ]
    full = [run("full", 0.79 + seed / 100, seed=seed) for seed in range(3)]
    row = only([*full, *runs])
    assert noted(row) == ["stuck at the trivial score and set aside: d = 100 seed 1"]
    assert row.curve[-1].values == (0.74, 0.76)
    assert (row.seeds, row.done) == (2, 9)


def test_a_d_whose_runs_are_all_stuck_takes_no_other_d_out_of_place(run: MakeRun) -> None:
    means = {10: 0.62, 20: 0.5, 100: 0.75, 300: 0.70, 1000: 0.79}
    runs = [run("did", v + s / 100, d=d, seed=s) for d, v in means.items() for s in range(2)]
    full = [run("full", 0.79 + seed / 100, seed=seed) for seed in range(3)]
    row = only([*full, *runs])
    assert [point.d for point in row.curve] == [10, 100, 300, 1000]
    assert noted(row) == [
        "not monotone: below the threshold again at d = 300",
        "stuck at the trivial score and set aside: d = 20 seed 0; d = 20 seed 1",
    ]


FALLING = ((10, 0.60), (30, 0.70), (100, 0.62))


def test_a_metric_that_falls_with_more_numbers_puts_the_rate_in_doubt(run: MakeRun) -> None:
    """As with a rate that fits a small d, and throws a large one off."""
    full = [run("full", 0.79 + seed / 100, seed=seed) for seed in range(3)]
    runs = [run("did", v + s / 100, d=d, seed=s) for d, v in FALLING for s in range(4)]
    row = only([*full, *runs])
    assert row.verdict == "above-grid"
    assert noted(row) == [
        "the metric falls from d = 30 to d = 100: the rate may be too large there, and d90 smaller "
        "than it seems"
    ]
    # Three runs of each come in this order by chance once in 20, and runs that mix say nothing.
    assert noted(only([*full, *(one for one in runs if one.seed < 3)])) == []
    mixed = [run("did", 0.72, d=100, seed=0) if r.d == 100 and r.seed == 0 else r for r in runs]
    assert noted(only([*full, *mixed])) == []


def test_a_metric_that_falls_above_the_threshold_leaves_d90_alone(run: MakeRun) -> None:
    full = [run("full", 0.79 + seed / 100, seed=seed) for seed in range(3)]
    above = ((10, 0.65), (30, 0.80), (100, 0.74))
    runs = [run("did", v + s / 100, d=d, seed=s) for d, v in above for s in range(4)]
    assert noted(only([*full, *runs])) == []


def test_an_open_end_of_the_interval_names_the_d_that_may_close_it(run: MakeRun) -> None:
    full = [run("full", 0.79 + seed / 100, seed=seed) for seed in range(3)]
    means = {100: 0.71, 200: 0.715, 400: 0.73}
    runs = [run("did", v + s / 50, d=d, seed=s) for d, v in means.items() for s in range(-1, 2)]
    row = only([*full, *runs])
    assert row.interval == (None, None)
    assert noted(row) == [
        "the interval is open below, where no d smaller than 100 was run: d=25,50 may close it",
        "the interval is open above, where no d larger than 400 was run: d=800,1600 may close it",
    ]
    planned = run("did", None, d=800, status="running")
    assert not [note for note in only([*full, *runs, planned]).notes if "may close it" in note]


def test_a_series_whose_search_ended_before_a_run_reports_has_a_row(run: MakeRun) -> None:
    full = [run("full", 0.8, seed=CHOOSING + seed) for seed in range(2)]
    runs = [run("did", 0.7, d=100, seed=seed) for seed in (CHOOSING, 2 * CHOOSING)]
    row = only([*full, *runs])
    assert (row.verdict, row.done, row.planned, row.curve) == ("incomplete", 0, 0, ())
    assert row.notes == ("2 runs chose rates or where d90 lies, and none reports yet",)


def test_scores_of_rows_that_cannot_be_read_are_named_and_metrics_are_read_instead(
    run: MakeRun, tmp_path: Path
) -> None:
    records = []
    for i, one in enumerate([run("full", 0.75), run("did", 0.5, d=10), run("did", 0.75, d=100)]):
        (folder := tmp_path / str(i)).mkdir()
        rows = np.arange(4) < 4 * (one.metric.value or 0)
        scores = write_scores(folder, rows.astype(float))
        records.append(replace(one, scores=scores, folder=folder))
    assert only(records).notes == only([replace(one, scores=None) for one in records]).notes
    (tmp_path / "2" / SCORES).write_bytes(b"torn")
    row = only(records)
    assert row.d90 == only([replace(one, scores=None) for one in records]).d90
    assert row.notes[-1].startswith(f"{tmp_path / '2' / SCORES}: sha256 ")


def test_numbers_of_a_head_outside_the_subspace_are_shown(run: MakeRun) -> None:
    row = only([run("full", 0.8), run("did", 0.6, d=1770, outside=770)])
    assert noted(row) == ["d counts 770 numbers of a head outside the subspace"]
