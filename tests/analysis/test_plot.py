"""A plot shows what the rows say: an open end looks open, and both files are the same drawing."""

import hashlib
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.analysis.plots import facts
from said_lightning.analysis.plots.canvas import COLOURS, PALETTE, inline, look
from said_lightning.analysis.plots.curves import curves, draw, looks_of
from said_lightning.analysis.plots.spans import forest, over, span
from said_lightning.analysis.reading import Ends, Reading
from said_lightning.analysis.table import estimate_of
from said_lightning.runs.record import Record
from tests.analysis.drawing import drawn, lines, marked, texts

MakeRun = Callable[..., Record]


@pytest.fixture
def rows(run: MakeRun) -> list[Row]:
    """Return rows of two tasks: d90 found and bounded above on one, no baseline on the other."""
    seeds = [
        run("did", value + seed / 100, d=d, seed=seed)
        for d, value in {100: 0.6, 1000: 0.75}.items()
        for seed in (0, 1)
    ]
    others = [run("said", 0.75, d=100), run("said", 0.6, d=100, task="cola", projection="dense")]
    return estimate([run("full", 0.8), *seeds, *others])


def texts_of(svg: Path) -> set[str]:
    """Return the texts of a figure: Matplotlib draws glyphs, and leaves the text in comments."""
    return set(map(unescape, re.findall(r"<!-- (.*?) -->", svg.read_text(encoding="utf-8"))))


def test_a_plot_is_a_png_and_an_svg_in_a_folder_made_for_it(
    rows: list[Row], tmp_path: Path
) -> None:
    png, svg = draw(rows, tmp_path / "new")
    assert (png.name, svg.name) == ("d90.png", "d90.svg")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_plot_names_axes_lines_series_and_answers(rows: list[Row], tmp_path: Path) -> None:
    assert texts_of(draw(rows, tmp_path)[1]) >= {
        *("minilm · sst2", "minilm · cola", "d, trained numbers (log scale)"),
        *("accuracy (dots: seeds)", "accuracy", "full 0.800", "90 % 0.720", "trivial 0.500"),
        *("said fastfood: <= 100", "said dense: no-baseline"),
        f"did fastfood: {estimate_of(rows[1])}",
    }
    assert rows[1].d90 is not None


def test_a_page_and_a_file_have_the_same_drawing(rows: list[Row], tmp_path: Path) -> None:
    plot = curves(rows[1:], looks_of(rows))
    assert plot is not None
    page = set(map(unescape, re.findall(r"<text [^>]*>([^<]*)</text>", inline(plot))))
    assert page == texts_of(draw(rows[1:], tmp_path)[1])
    assert set(texts(drawn(plot))) - {""} <= page | {plot.title}


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize(
    ("interval", "closed", "open_"),
    [
        ((200, 800), [[400, 200], [200], [400, 800], [800]], []),
        ((200, None), [[400, 200], [200]], [[400, 1000], [1000]]),
        ((None, 800), [[400, 800], [800]], [[400, 10], [10]]),
        ((None, None), [], [[400, 10], [10], [400, 1000], [1000]]),
    ],
)
def test_an_open_end_is_a_broken_arm_to_the_edge_with_an_arrow(
    interval: Ends, closed: list[list[int]], open_: list[list[int]], upright: bool
) -> None:
    axis = axis_to(1000, upright)
    one = Reading(threshold=0.7, verdict="found", d90=400, interval=interval, level=0.9)
    span(axis, one, 0.5, look(0), upright=upright)
    of = Line2D.get_ydata if upright else Line2D.get_xdata
    assert marked(axis, "d90", of) == [[400]]
    assert marked(axis, "closed", of) == closed
    assert marked(axis, "open", of) == open_
    arms = [line for line in axis.lines if line.get_gid() == "open" and len(of(line)) == 2]  # type: ignore[arg-type]
    assert all(line.get_linestyle() != "-" for line in arms)
    heads = "".join(
        str(line.get_marker())
        for line in axis.lines
        if line.get_gid() == "open" and line not in arms
    )
    low, high = ("v", "^") if upright else ("<", ">")
    assert heads == low * (interval[0] is None) + high * (interval[1] is None)


def test_without_an_interval_there_is_no_arm() -> None:
    axis = axis_to(1000, False)
    span(axis, Reading(threshold=0.7, verdict="found", d90=400), 0.5, look(0))
    assert (marked(axis, "d90"), len(axis.lines)) == ([[400]], 1)


def axis_to(most: int, upright: bool) -> Axes:
    """Return an axis of d from 10 on."""
    axis = Figure().subplots()
    (axis.set_ylim if upright else axis.set_xlim)(10, most)
    return axis


def test_the_forest_has_the_d90_of_every_series_that_has_one(rows: list[Row]) -> None:
    plot = forest(rows, looks_of(rows), "1-6")
    assert plot is not None
    axis = drawn(plot)
    assert marked(axis, "d90") == [[rows[1].d90]]
    assert f"did fastfood: {estimate_of(rows[1])}" in texts(axis)
    assert f"did fastfood: {estimate_of(rows[1])}" in plot.text
    assert forest([rows[0]], looks_of(rows), "") is None


def test_in_the_curves_an_interval_stands_below_the_curve(rows: list[Row]) -> None:
    plot = curves(rows[1:], looks_of(rows))
    assert plot is not None
    axis = drawn(plot)
    (foot,) = marked(axis, "d90", Line2D.get_ydata)[0]
    assert foot < min(value for row in rows[1:] for point in row.curve for value in point.values)
    ends = {d for line in marked(axis, "closed") + marked(axis, "open") for d in line}
    assert {end for end in rows[1].interval if end is not None} <= ends


def test_d90_over_a_number_shows_open_ends(rows: list[Row]) -> None:
    row = replace(rows[1], d90=400, interval=(200, None), level=0.9)
    axis = drawn(over("size", "D", {"did": [(10, row), (1000, row)]}, [look(0)], ""))
    assert lines(axis)["did"] == [(10, 400), (1000, 400)]
    assert len(marked(axis, "open")) == 4
    names = drawn(
        over("maps", "projection", {"": [("dense", row), ("sparse", row)]}, [look(0)], "")
    )
    assert [tick.get_text() for tick in names.get_xticklabels()] == ["dense", "sparse"]
    assert marked(names, "d90") == [[0], [1]]


def test_lambda_keeps_its_sign_and_white_is_zero() -> None:
    plot = facts.heat("x", {100: {"a": -2.0, "b": 1.0}, 10: {"a": 0.5}}, "")
    axis = drawn(plot)
    texts = re.findall(r"<text ([^>]*)>-2.00", inline(plot).replace("\n", ""))
    assert all("var(--" not in style for style in texts)  # the cell is as dark on any paper
    assert texts
    (mesh,) = axis.collections
    assert mesh.get_array().tolist() == [[0.5, -2.0], [None, 1.0]]  # type: ignore[union-attr]
    assert mesh.get_clim() == (-2.0, 2.0)
    names = ["a", "b", "10", "100"]
    assert [text.get_text() for text in axis.texts] == [*names, "0.50", "-2.00", "", "1.00"]


def test_the_rate_that_was_chosen_has_a_ring() -> None:
    by_d = {10: [(0.1, 0.5), (0.3, 0.6)], 100: [(0.1, 0.7), (0.3, 0.6)]}
    drawing = lines(drawn(facts.rates("x", "accuracy", by_d, {10: 0.3, 100: 0.1}, "")))
    assert drawing["chosen"] == [(0.3, 0.6), (0.1, 0.7)]
    assert drawing["10"] == by_d[10]


def test_no_two_of_forty_series_look_the_same() -> None:
    assert len({look(i) for i in range(40)}) == 40


def test_each_colour_of_a_plot_is_one_of_the_palette_in_a_page(rows: list[Row]) -> None:
    plot = curves(rows[1:], looks_of(rows))
    assert plot is not None
    left = set(re.findall(r"#[0-9a-f]{6}", inline(plot)))
    assert not left & {light for light, _ in PALETTE.values()}
    assert set(re.findall(r"var\(--([a-z0-9-]+)\)", inline(plot))) <= set(PALETTE)
    assert len(set(COLOURS)) == len(COLOURS)


def test_an_answer_above_the_grid_is_named_in_the_legend(run: MakeRun, tmp_path: Path) -> None:
    rows = estimate([run("full", 0.8), run("did", 0.6, d=1000)])
    assert "did fastfood: > 1,000" in texts_of(draw(rows, tmp_path)[1])


def test_where_no_run_has_a_metric_nothing_is_drawn(run: MakeRun, tmp_path: Path) -> None:
    assert draw(estimate([run("did", None, d=1000, status="running")]), tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_the_same_rows_give_the_same_bytes_also_in_another_process(
    rows: list[Row], tmp_path: Path
) -> None:
    (tmp_path / "rows").write_bytes(pickle.dumps(rows))
    program = f"""
import pickle
from pathlib import Path
from said_lightning.analysis.plots.curves import draw
draw(pickle.loads(Path({str(tmp_path / "rows")!r}).read_bytes()), Path({str(tmp_path / "other")!r}))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    for path in draw(rows, tmp_path / "one"):
        again = (tmp_path / "other" / path.name).read_bytes()
        assert hashlib.sha256(again).digest() == hashlib.sha256(path.read_bytes()).digest()
