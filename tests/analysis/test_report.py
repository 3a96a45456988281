"""A report says what the runs say, with their sources, and the same in every format."""

import csv
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest

from said_lightning.analysis.answer import short
from said_lightning.analysis.estimator import Row, estimate
from said_lightning.analysis.plots.canvas import Plot
from said_lightning.analysis.report import formats as report
from said_lightning.analysis.report.layout import CITING
from said_lightning.analysis.report.page import html
from said_lightning.analysis.report.sections import build
from said_lightning.analysis.table import estimate_of
from said_lightning.errors import UserError
from said_lightning.runs.index import find
from said_lightning.runs.record import Group, Record
from tests.analysis.drawing import drawn, lines, marked, texts
from tests.analysis.test_studies import placed, series

MakeRun = Callable[..., Record]
Study = tuple[list[Row], list[Record], Path]
ROOT = Path(__file__).parents[2]
SECTIONS = (
    "The answer",
    "The metric over d",
    "Every series",
    "Learning rates",
    "Which layers the task uses",
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
    records = placed(runs, tmp_path)
    return estimate(records), records, tmp_path


@pytest.fixture(params=["demo", "rates", "projections", "models", "pre-training"])
def any_study(request: pytest.FixtureRequest, run: MakeRun, tmp_path: Path) -> Study:
    """Return each committed study, and made ones of several models and of pre-training steps."""
    if request.param == "models":
        runs = [*series(run, 10, model="one", size=1000), *series(run, model="six", size=6000)]
    elif request.param == "pre-training":
        runs = series(run, full=0.5, model="own-0", step="0")
        runs += [*series(run, 10, model="own-2k", step="2k"), *series(run, model="own", step="9k")]
    else:
        return real(request.param)
    records = placed(runs, tmp_path)
    return estimate(records), records, tmp_path


@pytest.mark.parametrize(
    ("name", "suffix"), [*(("demo", suffix) for suffix in report.FORMATS), ("projections", ".html")]
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


def test_a_page_asks_nothing_of_the_network_and_runs_nothing(study: Study) -> None:
    page = Page(html(*study))
    asked = [attrs[key] for _, attrs in page.found for key in ("src", "href") if attrs.get(key)]
    assert all((one or "").startswith("#") for one in asked)
    assert not page.all("script")
    (policy,) = [one for one in page.all("meta") if "http-equiv" in one]
    assert (policy["content"] or "").startswith("default-src 'none'")


def plots(study: Study) -> list[Plot]:
    return [plot for section in build(*study) for plot in section.plots]


def test_every_plot_has_a_title_names_its_axes_and_is_said_in_words(any_study: Study) -> None:
    for plot in plots(any_study):
        axis = drawn(plot)
        assert plot.title
        assert axis.get_xlabel() or " by " in axis.get_ylabel()
        assert axis.get_ylabel() or len(axis.texts) > 1  # the forest and the map name each line
        assert re.search(r"\d", plot.text), plot.title
        assert plot.runs, plot.title


def test_curves_show_thresholds_seeds_and_intervals(study: Study) -> None:
    (row,) = study[0]
    axis = drawn(plots(study)[1])
    assert {"full 0.810", "90 % 0.729", "trivial 0.500"} <= set(texts(axis))
    assert len(lines(axis)[f"said fastfood: {estimate_of(row)}"]) == 3
    dots = [line for line in axis.lines if line.get_marker() == "."]
    assert [len(line.get_xdata()) for line in dots] == [9]  # type: ignore[arg-type]
    assert marked(axis, "d90") == [[row.d90]]
    ends = {d for line in marked(axis, "closed") for d in line}
    assert ends == {row.d90, *row.interval}


def test_every_row_of_every_table_cites_runs_that_the_last_section_lists(any_study: Study) -> None:
    sections = build(*any_study)
    listed = {row[0] for row in sections[-1].tables[-1].rows}
    for table in (table for section in sections for table in section.tables):
        places = [i for i, column in enumerate(table.columns) if column in CITING]
        assert places, table.caption
        for row in table.rows:
            cited = [one for place in places for one in re.findall(r"\d+", row[place])]
            assert cited, (table.caption, row)
            assert set(cited) <= listed, (table.caption, row)


def test_every_number_of_the_first_screen_is_one_of_its_rows(any_study: Study) -> None:
    known = {one for row in any_study[0] for one in numbers(row)}
    for sentence in build(*any_study)[0].sentences:
        _, _, said = sentence.partition(": ")
        for text in re.findall(r"(?<![\w.-])\d+(?:,\d{3})*(?:\.\d+)?(?:[kMB]\b)?", said):
            assert text in known, (text, sentence)


def numbers(row: Row) -> set[str]:
    """Return the numbers that a sentence may name for a row, as it writes them."""
    whole = [row.d90, *row.interval, *row.bracket, row.done, row.planned]
    found = {f"{one:,}" for one in whole if one is not None} | {short(row.D or 0), "90"}
    for one in row.comparisons:
        ratios = (one.ratio, *one.interval)
        found |= {f"{float(f'{ratio:.2g}'):g}" for ratio in ratios if ratio is not None}
    # How many series there are is counted on the page.
    return found | {str(count) for count in range(1, 14)}


def test_a_point_cites_its_own_runs(study: Study) -> None:
    point = next(row for row in build(*study)[1].tables[0].rows if row[1] == "100")
    assert point[-1] == "7-9"


def test_lambda_keeps_its_sign_over_seeds(study: Study) -> None:
    section = next(one for one in build(*study) if one.title == "Which layers the task uses")
    (table,) = section.tables
    assert [row[2:6] for row in table.rows] == [
        ("layer.0", "-2.000", "-2.000", "-2.000"),
        ("head", "1.000", "1.000", "1.000"),
    ]


def test_a_section_with_nothing_to_show_is_left_out(run: MakeRun, tmp_path: Path) -> None:
    one = replace(run("did", None, d=10, status="running"), folder=tmp_path / "0")
    titles = [section.title for section in build(estimate([one]), [one], tmp_path)]
    assert titles == ["The answer", "Every series", "Cost", *SECTIONS[-2:]]


class Page(HTMLParser):
    """The elements of a page, each with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of each element of a kind."""
        return [attrs for one, attrs in self.found if one == tag]


def test_a_page_can_be_read_by_keyboard_and_by_ear(study: Study) -> None:
    page = Page(html(*study))
    assert len(page.all("caption")) == len(page.all("table")) == len(page.all("thead"))
    assert {attrs.get("scope") for attrs in page.all("th")} == {"col", "row"}
    assert all(one["role"] == "img" and one["aria-label"] for one in page.all("svg"))
    wide = [one for one in page.all("div") if one.get("class") == "wide"]
    assert len(wide) == len(page.all("table"))
    assert all(one["tabindex"] == "0" and one["aria-label"] for one in wide)
    ids = [attrs["id"] for _, attrs in page.found if "id" in attrs and "path" not in attrs]
    targets = {(one["href"] or "").removeprefix("#") for one in page.all("a")}
    assert targets <= set(ids)


def test_d90_stays_in_view_and_paper_and_darkness_have_their_own_style(study: Study) -> None:
    text = html(*study)
    assert re.search(r"\.d90 \{[^}]*position: sticky", text)
    assert "@media print" in text
    assert "prefers-color-scheme: dark" in text
    page = Page(text)
    kept = [one for one in page.all("td") if one.get("class") == "d90"]
    assert len(kept) == sum(
        len(table.rows)
        for section in build(*study)
        for table in section.tables
        if "d90" in table.columns
    )


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
    (table,) = next(one for one in build(*study) if one.title == "Cost").tables
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
