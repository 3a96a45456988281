import hashlib
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.analysis.plot import _COLOURS, _MARKERS, _frame, draw
from said_lightning.analysis.report.figures import COLOURS, SYMBOLS
from said_lightning.analysis.table import estimate_of
from said_lightning.runs.record import Record

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


def texts(svg: Path) -> set[str]:
    """Return the texts of a figure: Matplotlib draws glyphs, and leaves the text in comments."""
    return set(map(unescape, re.findall(r"<!-- (.*?) -->", svg.read_text(encoding="utf-8"))))


def test_a_plot_is_a_png_and_an_svg_in_a_folder_made_for_it(
    rows: list[Row], tmp_path: Path
) -> None:
    png, svg = draw(rows, tmp_path / "new")
    assert (png.name, svg.name) == ("d90.png", "d90.svg")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_plot_names_axes_lines_series_and_answers(rows: list[Row], tmp_path: Path) -> None:
    assert texts(draw(rows, tmp_path)[1]) >= {
        "minilm · sst2",
        "minilm · cola",
        "d, trained numbers (log scale)",
        "accuracy, mean over seeds (dots: each seed)",
        "accuracy, one seed",
        "full 0.800",
        "90 % of full 0.720",
        "trivial 0.500",
        "did fastfood",
        "said fastfood",
        "said dense: no-baseline",
        f"d90 {estimate_of(rows[1])}",
        "d90 <= 100",
    }
    assert rows[1].d90 is not None


def test_many_series_leave_half_of_the_panel_to_their_curves(run: MakeRun) -> None:
    runs = [
        run("did", value, d=d, projection=f"p{i:02d}")
        for i in range(20)
        for d, value in ((100, 0.6), (1000, 0.75))
    ]
    axis = Figure().subplots()
    _frame(axis, estimate([run("full", 0.8), *runs]), [0.5, 0.72, 0.8])
    bottom, top = axis.get_ylim()
    assert bottom < 0.5 < 0.8 < top
    assert 0.3 / (top - bottom) > 0.4


def test_no_two_of_forty_series_look_the_same() -> None:
    for colours, marks in ((_COLOURS, _MARKERS), (COLOURS, SYMBOLS)):
        looks = {(colours[i % len(colours)], marks[i % len(marks)]) for i in range(40)}
        assert len(looks) == 40


def test_an_answer_above_the_grid_is_named_in_the_legend(run: MakeRun, tmp_path: Path) -> None:
    rows = estimate([run("full", 0.8), run("did", 0.6, d=1000)])
    assert "did fastfood: > 1,000" in texts(draw(rows, tmp_path)[1])


def test_series_without_any_metric_yet_can_be_drawn(run: MakeRun, tmp_path: Path) -> None:
    rows = estimate([run("did", None, d=1000, status="running")])
    assert "did fastfood: no-baseline" in texts(draw(rows, tmp_path)[1])


def test_the_same_rows_give_the_same_bytes_also_in_another_process(
    rows: list[Row], tmp_path: Path
) -> None:
    (tmp_path / "rows").write_bytes(pickle.dumps(rows))
    program = f"""
import pickle
from pathlib import Path
from said_lightning.analysis.plot import draw
draw(pickle.loads(Path({str(tmp_path / "rows")!r}).read_bytes()), Path({str(tmp_path / "other")!r}))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    for path in draw(rows, tmp_path / "one"):
        again = (tmp_path / "other" / path.name).read_bytes()
        assert hashlib.sha256(again).digest() == hashlib.sha256(path.read_bytes()).digest()
