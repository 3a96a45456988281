"""A report says what the runs say, with their sources, and the same in every format."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from said_lightning.analysis.estimator import Row, estimate
from said_lightning.analysis.report import formats as report
from said_lightning.analysis.report.page import html
from said_lightning.analysis.report.sections import build
from said_lightning.errors import UserError
from said_lightning.runs.index import find
from said_lightning.runs.record import Group, Record

MakeRun = Callable[..., Record]
Study = tuple[list[Row], list[Record], Path]
ROOT = Path(__file__).parents[2]
SECTIONS = (
    "d90",
    "The metric over d",
    "Which layers the task uses",
    "Learning rates",
    "Cost",
    "What failed",
    "Where the numbers come from",
)


def real(name: str) -> Study:
    """Read a committed study."""
    path = ROOT / "results" / name
    records, errors = find(path)
    assert not errors
    return estimate(records), records, path


@pytest.fixture
def study(run: MakeRun, tmp_path: Path) -> Study:
    """Return full and SAID with three seeds, two rates at one d, and a run that failed."""
    groups = {"layer.0": Group(D=10, scale=-2.0), "head": Group(D=5, scale=1.0)}
    runs = [run("full", 0.8 + seed / 100, seed=seed) for seed in range(3)]
    for d, value in ((10, 0.6), (100, 0.7), (1000, 0.78)):
        runs += [
            run("said", value + seed / 100, d=d, seed=seed, groups=groups, wall_s=1200.0)
            for seed in range(3)
        ]
    runs += [run("said", 0.65, d=100, lr=0.3, seed=seed) for seed in range(2)]
    runs.append(run("said", None, d=5000, status="failed", reason="a <b> & | reason"))
    records = [replace(one, folder=tmp_path / f"run{i:02d}") for i, one in enumerate(runs)]
    return estimate(records), records, tmp_path


@pytest.mark.parametrize(
    ("name", "suffix"), [*(("demo", suffix) for suffix in report.FORMATS), ("section5", ".html")]
)
def test_the_same_runs_give_the_same_bytes_wherever_they_lie(
    name: str, suffix: str, tmp_path: Path
) -> None:
    rows, records, path = real(name)
    report.write(tmp_path / f"one{suffix}", rows, records, path)
    shutil.copytree(path, tmp_path / "elsewhere")
    again, _ = find(tmp_path / "elsewhere")
    report.write(tmp_path / f"two{suffix}", estimate(again), again[::-1], tmp_path / "elsewhere")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_a_report_has_every_section_in_html_and_markdown(study: Study) -> None:
    page, text = html(*study), report.markdown(*study)
    assert tuple(re.findall(r"<h2>(.*?)</h2>", page)) == SECTIONS
    assert tuple(re.findall(r"^## (.*)$", text, re.M)) == SECTIONS


def test_a_page_asks_nothing_of_the_network(study: Study) -> None:
    class Tags(HTMLParser):
        asked: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.asked += [v or "" for k, v in attrs if k in ("src", "href") and v and v[0] != "#"]

    tags = Tags()
    tags.feed(html(*study))
    assert tags.asked == []


def figures(study: Study) -> dict[str, dict[str, Any]]:
    drawn = [figure for section in build(*study) for figure in section.figures]
    return {str(index): json.loads(json.dumps(figure)) for index, figure in enumerate(drawn)}


def test_every_plot_names_its_axes(study: Study) -> None:
    drawn = figures(study)
    assert len(drawn) == 3
    for figure in drawn.values():
        assert figure["layout"]["title"]["text"]
        assert figure["layout"]["xaxis"]["title"]["text"]
        assert figure["layout"]["yaxis"]["title"]["text"]


def test_curves_show_thresholds_seeds_and_intervals(study: Study) -> None:
    rows, *_ = study
    traces = {trace["name"]: trace for trace in figures(study)["0"]["data"]}
    assert {"full 0.810", "90 % of full 0.729", "90 % of the way from chance 0.779"} <= set(traces)
    assert "chance 0.500" in traces
    assert len(traces["said fastfood, seeds"]["x"]) == 9
    bar = traces["said fastfood: d90"]
    low, high = rows[0].interval
    assert (bar["x"], bar["y"]) == ([rows[0].d90], [rows[0].threshold])
    assert bar["x"][0] - bar["error_x"]["arrayminus"][0] == low
    assert bar["x"][0] + bar["error_x"]["array"][0] == high


def test_every_series_and_point_cites_runs_that_the_last_section_lists(study: Study) -> None:
    sections = build(*study)
    listed = {row[0] for row in sections[-1].tables[-1].rows}
    assert listed == {str(i) for i in range(1, 16)}
    for section in sections[:4]:
        for table in section.tables:
            if "runs" not in table.columns:
                continue
            place = table.columns.index("runs")
            assert all(row[place] for row in table.rows), table.caption
    point = next(row for row in sections[1].tables[0].rows if row[0] == "100")
    assert point[-1] == "7-9"


def test_lambda_is_the_mean_size_over_seeds(study: Study) -> None:
    (table,) = build(*study)[2].tables
    assert [row[:2] for row in table.rows] == [("layer.0", "2.000"), ("head", "1.000")]


def test_what_failed_is_listed_with_its_reason_whatever_it_holds(study: Study) -> None:
    assert "a &lt;b&gt; &amp; | reason" in html(*study)
    assert r"a \<b> \& \| reason" in report.markdown(*study)


def test_a_run_to_come_has_not_failed(run: MakeRun, tmp_path: Path) -> None:
    statuses = ("failed", "running", "waiting", "waiting")
    runs = [run("did", None, d=10, seed=seed, status=s) for seed, s in enumerate(statuses)]
    records = [replace(one, folder=tmp_path / str(i)) for i, one in enumerate(runs)]
    for some, text in ((records, "1 of 4 runs, 1 running, 2 waiting."), (records[1:2], "None of")):
        section = next(s for s in build(estimate(some), some, tmp_path) if "failed" in s.title)
        assert section.text.startswith(text)


def test_the_cost_adds_up(study: Study) -> None:
    (table,) = build(*study)[4].tables
    by_series = {row[0]: row for row in table.rows}
    assert by_series["all"][1:5] == ("15", "14", "1", "3.00")


def test_csv_has_a_line_for_each_series_with_the_numbers_of_the_row(study: Study) -> None:
    (line,) = csv.DictReader(StringIO(report.table_csv(*study)))
    (row,) = study[0]
    assert float(line["threshold"]) == row.threshold
    assert (int(line["interval_low"]), int(line["interval_high"])) == row.interval
    assert line["corrected_verdict"] == row.corrected.verdict
    assert line["folders"].split() == [f"run{i:02d}" for i in range(15)]


def test_latex_is_the_papers_table(study: Study) -> None:
    text = report.latex(*study)
    assert r"model & SAID sst2 \\" in text
    assert r"\toprule" in text


def test_an_unknown_format_is_refused_with_those_there_are(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a name that ends in \.html, \.md, \.csv, \.tex"):
        report.write(tmp_path / "report.pdf", *study)
