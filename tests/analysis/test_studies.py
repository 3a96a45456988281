"""The studies of section 5 appear in a report where there are runs for them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from said_lightning.analysis.estimator import estimate
from said_lightning.analysis.report import formats as report
from said_lightning.analysis.report.layout import Section
from said_lightning.analysis.report.sections import build
from said_lightning.analysis.report.sections.generalisation import gap
from said_lightning.analysis.report.sources import number
from said_lightning.runs.record import Epoch, Record, TrainMetric
from tests.analysis.drawing import drawn, lines

MakeRun = Callable[..., Record]
TRAINED = TrainMetric(name="accuracy", value=0.95)


def series(run: MakeRun, shift: int = 1, full: float = 0.8, **facts: Any) -> list[Record]:
    """Return a baseline and SAID with two seeds, its d90 between 10 and 100 times `shift`."""
    baseline = {key: facts[key] for key in ("model", "task", "step") if key in facts}
    size = facts.pop("size", 10**6)
    runs = [run("full", full, d=size, D=size, seed=seed, **baseline) for seed in (0, 1)]
    for d, value in ((10, 0.55), (100, 0.75), (1000, 0.79)):
        runs += [
            run("said", value + s / 100, d=d * shift, seed=s, train_metric=TRAINED, **facts)
            for s in (0, 1)
        ]
    return runs


def placed(runs: list[Record], root: Path) -> list[Record]:
    """Return the runs, each in a folder of its own below `root`."""
    return [replace(one, folder=root / f"run{i:02d}") for i, one in enumerate(runs)]


def sections(runs: list[Record], root: Path) -> dict[str, Section]:
    """Return the sections of a report of these runs, by title."""
    records = placed(runs, root)
    return {section.title: section for section in build(estimate(records), records, root)}


def test_d90_over_pretraining_has_no_value_where_full_fine_tuning_learned_nothing(
    run: MakeRun, tmp_path: Path
) -> None:
    runs = series(run, full=0.5, model="own-0", step="0")
    runs += series(run, 10, model="own-20k", step="20k")
    runs += series(run, model="own-100k", step="100k")
    section = sections(runs, tmp_path)["d90 over pre-training"]
    (table,) = section.tables
    assert table.caption == "own · sst2 · said fastfood"
    assert [line[0] for line in table.rows] == ["0", "20,000", "100,000"]
    assert [line[1] == "no value" for line in table.rows] == [True, False, False]
    (plot,) = section.plots
    (points,) = lines(drawn(plot)).values()
    (first, early), (last, late) = points
    assert (first, last) == (20_000, 100_000)
    assert early > late
    assert "d90 over size" not in sections(runs, tmp_path)


def test_d90_over_size_takes_each_models_own_d(run: MakeRun, tmp_path: Path) -> None:
    runs = series(run, 10, model="one-layer", size=1000) + series(
        run, model="six-layers", size=6000
    )
    (table,) = sections(runs, tmp_path)["d90 over size"].tables
    assert [(line[0], line[2]) for line in table.rows] == [
        ("1,000", "one-layer"),
        ("6,000", "six-layers"),
    ]
    same = series(run, 10, model="a") + series(run, model="b")
    assert "d90 over size" not in sections(same, tmp_path)


def test_a_study_without_any_d90_is_a_table_alone(run: MakeRun, tmp_path: Path) -> None:
    runs = series(run, full=0.5, model="a", size=1000) + series(run, full=0.5, model="b", size=6000)
    section = sections(runs, tmp_path)["d90 over size"]
    assert [line[1] for line in section.tables[0].rows] == ["no value", "no value"]
    assert not section.plots
    both = series(run, full=0.5, model="a") + series(run, full=0.5, model="a", projection="dense")
    assert not sections(both, tmp_path)["Projections"].plots


def test_the_gap_is_that_of_the_runs_at_d90(run: MakeRun, tmp_path: Path) -> None:
    runs = [replace(one, folder=tmp_path / str(i)) for i, one in enumerate(series(run))]
    (row,) = estimate(runs)
    found = gap(row, number(runs, tmp_path))
    assert found is not None
    assert (found.d, found.train) == (100, 0.95)
    assert found.value == pytest.approx(0.755)
    assert found.relative == pytest.approx((0.95 - 0.755) / (1 - 0.755))
    both = series(run) + series(run, 10, projection="dense")
    section = sections(both, tmp_path)["Generalisation over d90"]
    assert len(section.tables[0].rows) == 2
    drawings = [lines(drawn(plot)) for plot in section.plots]
    assert [len(points) for drawing in drawings for points in drawing.values()] == [2, 2]


def test_a_run_that_was_ended_at_the_threshold_has_no_gap(run: MakeRun, tmp_path: Path) -> None:
    runs = series(run)
    place = next(i for i, one in enumerate(runs) if (one.d, one.seed) == (100, 1))
    worse = TrainMetric(name="accuracy", value=0.5)
    ended = Epoch(epoch=1, value=0.76)
    runs[place] = replace(runs[place], train_metric=worse, epochs=3, last=ended)
    placed = [replace(one, folder=tmp_path / str(i)) for i, one in enumerate(runs)]
    (row,) = estimate(placed)
    found = gap(row, number(placed, tmp_path))
    assert found is not None
    assert (found.train, found.value, len(found.runs)) == (0.95, 0.75, 1)


@pytest.mark.parametrize(
    ("title", "projections"),
    [
        ("The wrong gradient", ("released-exact", "released-released")),
        ("Projections", ("dense", "fastfood")),
    ],
)
def test_series_of_two_projections_are_compared(
    title: str, projections: tuple[str, str], run: MakeRun, tmp_path: Path
) -> None:
    runs = series(run, projection=projections[0]) + series(run, 10, projection=projections[1])
    found = sections(runs, tmp_path)
    (table,) = found[title].tables
    assert [line[0] for line in table.rows] == [
        one.removeprefix("released-") for one in projections
    ]
    others = {"The wrong gradient", "Projections", "Spaces"} - {title}
    assert not others & set(found)


def test_a_growing_run_is_no_projection_of_its_own(run: MakeRun, tmp_path: Path) -> None:
    runs = [*series(run), *series(run, projection="fastfood-nested")]
    assert "Projections" not in sections(runs, tmp_path)


def test_spaces_are_compared_for_each_projection(run: MakeRun, tmp_path: Path) -> None:
    runs = series(run, space="all") + series(run, 10, space="lora")
    runs += series(run, projection="dense", space="lora")
    found = sections(runs, tmp_path)
    (table,) = found["Spaces"].tables
    assert [line[0] for line in table.rows] == ["all", "lora"]
    (projections,) = found["Projections"].tables
    assert projections.caption == "minilm · sst2 · said · lora"


def test_one_series_is_no_study_and_the_whole_page_can_be_written(
    run: MakeRun, tmp_path: Path
) -> None:
    alone = set(sections(series(run), tmp_path))
    runs = series(run, model="own-0", step="0") + series(run, model="own-9", step="9")
    runs += series(run) + series(run, size=5, model="other") + series(run, space="bias")
    for projection in ("dense", "released-exact", "released-released"):
        runs += series(run, projection=projection)
    studies = set(sections(runs, tmp_path)) - alone - {"Comparisons"}
    assert studies == {
        *("d90 over pre-training", "d90 over size", "Generalisation over d90"),
        *("The wrong gradient", "Projections", "Spaces"),
    }
    placed = [replace(one, folder=tmp_path / f"{i}") for i, one in enumerate(runs)]
    for suffix in report.FORMATS:
        report.write(tmp_path / f"page{suffix}", estimate(placed), placed, tmp_path)
    page = (tmp_path / "page.html").read_text()
    assert all(title in page for title in studies)
