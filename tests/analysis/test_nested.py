"""Runs whose d grew give an upper bound on d90. Full is 0.8, the threshold 0.72."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from said_lightning.analysis import table
from said_lightning.analysis.estimator import Row, estimate
from said_lightning.analysis.report.page import html
from said_lightning.analysis.report.sections import build
from said_lightning.analysis.report.sections.series import scales
from said_lightning.analysis.report.sources import number
from said_lightning.runs.record import Epoch, Group, Record, Stage
from tests.analysis.drawing import drawn

MakeRun = Callable[..., Record]
SIZES = (10, 100, 1000)


def grown(run: MakeRun, *reached: float, seed: int = 0) -> Record:
    """Return a run that grew over three sizes and ended after the stages with these metrics."""
    values = [*reached, *[None] * (3 - len(reached))]
    stages = [Stage(d=d, lr=0.1, value=v) for d, v in zip(SIZES, values, strict=True)]
    last = Epoch(epoch=len(reached), value=reached[-1])
    facts = {"projection": "fastfood-nested", "seed": seed, "epochs": 3, "last": last}
    return run("said", max(reached), d=1000, stages=stages, **facts)


def row_of(*records: Record) -> Row:
    (row,) = estimate(records)
    return row


def test_where_a_run_that_grew_meets_the_threshold_bounds_d90_from_above(run: MakeRun) -> None:
    row = row_of(run("full", 0.8, epochs=2), grown(run, 0.6, 0.73))
    assert (row.verdict, row.d90, row.bracket, row.grid) == ("nested", None, (None, 100), None)
    assert (row.interval, row.level, row.comparisons) == ((None, 100), None, ())
    assert not any("stop_at" in note or "one seed" in note for note in row.notes)
    assert (row.done, row.planned) == (1, 1)


def test_the_mean_over_seeds_has_to_meet_it_and_a_run_that_ended_keeps_its_value(
    run: MakeRun,
) -> None:
    row = row_of(run("full", 0.8), grown(run, 0.73), grown(run, 0.6, 0.68, 0.72, seed=1))
    assert [round(point.mean, 3) for point in row.curve] == [0.665, 0.705, 0.725]
    assert (row.verdict, row.bracket) == ("nested", (None, 1000))
    assert (row.done, row.planned) == (2, 2)


def test_a_run_that_grew_to_the_end_below_the_threshold_is_no_bound_on_d90(run: MakeRun) -> None:
    row = row_of(run("full", 0.8), grown(run, 0.6, 0.65, 0.7))
    assert (row.verdict, row.d90, row.bracket) == ("above-grid", None, (None, None))


def test_a_stage_to_which_no_run_came_is_no_point_of_the_curve(run: MakeRun) -> None:
    row = row_of(run("full", 0.8), grown(run, 0.73), grown(run, 0.6, 0.75, seed=1))
    assert [point.d for point in row.curve] == [10, 100]
    # Chance-corrected, the threshold is 0.77, and both ended before they could meet it.
    assert row.corrected.verdict == "incomplete"


def test_a_run_that_ended_below_a_threshold_that_has_risen_leaves_it_open(run: MakeRun) -> None:
    full = [run("full", 0.8), run("full", 0.9, seed=1)]
    assert row_of(*full, grown(run, 0.6, 0.73)).verdict == "incomplete"


def test_a_run_that_grew_and_runs_from_cold_are_series_apart(run: MakeRun) -> None:
    cold = [run("said", value, d=d) for d, value in zip(SIZES, (0.6, 0.7, 0.75), strict=True)]
    rows = estimate([run("full", 0.8), *cold, grown(run, 0.6, 0.73)])
    assert {row.projection: row.verdict for row in rows} == {
        "fastfood": "found",
        "fastfood-nested": "nested",
    }


def test_tables_show_the_bound_as_one(run: MakeRun) -> None:
    row = row_of(run("full", 0.8), grown(run, 0.6, 0.73))
    assert table.estimate_of(row) == table.bracket(row) == "<= 100"
    (line,) = table.details(row)
    assert line.endswith("an upper bound, from runs whose d grew")
    (line,) = json.loads(table.to_json([row]))
    assert (line["verdict"], line["d90"], line["interval"]) == ("nested", None, [None, 100])


def test_the_scales_of_a_run_that_grew_are_those_of_the_size_at_which_it_ended(
    run: MakeRun, tmp_path: Path
) -> None:
    one = replace(grown(run, 0.6, 0.73), groups={"head": Group(D=5, scale=2.0)})
    two = replace(grown(run, 0.6, 0.65, 0.73, seed=1), groups={"head": Group(D=5, scale=3.0)})
    runs = [run("full", 0.8), one, two]
    records = [replace(record, folder=tmp_path / f"{i}") for i, record in enumerate(runs)]
    section = scales(estimate(records), number(records, tmp_path))
    assert section is not None
    axis = drawn(section.plots[0])
    assert [text.get_text() for text in axis.texts] == ["head", "100", "1,000", "2.00", "3.00"]
    (row,) = section.tables[0].rows
    assert row[1:4] == ("1,000", "head", "3.000")
    assert row[-1] == "3"


def test_a_report_shows_the_bound_and_cites_the_run_at_each_stage(
    run: MakeRun, tmp_path: Path
) -> None:
    one = [run("full", 0.8), grown(run, 0.6, 0.73)]
    records = [replace(record, folder=tmp_path / f"{i}") for i, record in enumerate(one)]
    rows = estimate(records)
    answers, curves, *_ = build(rows, records, tmp_path)
    assert [(row[1], row[-1]) for row in curves.tables[0].rows] == [("10", "2"), ("100", "2")]
    (said,) = answers.sentences
    assert "at most 100" in said
    assert "runs whose d grew" in said
    assert "nested: an upper bound" in html(rows, records, tmp_path)
