"""A report of runs with hostile names holds the names as text, in every format."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from said_lightning.analysis import table
from said_lightning.analysis.estimator import Row, estimate
from said_lightning.analysis.plots.canvas import inline
from said_lightning.analysis.plots.curves import draw
from said_lightning.analysis.report import formats
from said_lightning.analysis.report.page import html
from said_lightning.analysis.report.sections import build
from said_lightning.runs.record import Group, Record
from said_lightning.runs.text import line, terminal

MakeRun = Callable[..., Record]
Study = tuple[list[Row], list[Record], Path]
SVG = "http://www.w3.org/2000/svg"
NAMES = [
    *("a|b `code` **b** _i_", "two\nlines", "[bold]m[/bold] [/]", "\x1b[31mred \u202etxt"),
    *("=1+1", "@SUM(A1)", "\\input{x} $\\frac$ $x$ {", "50% & #1 ~ ^ &lt;", "[2cm]", "*"),
    *("</script><!--<script>alert(1)", "![i](http://x/i.png) [l](javascript:x)", "\udcff"),
    *('%{x} <b>bold</b> \'; "quoted"',),
]


@pytest.fixture(params=NAMES, ids=ascii, scope="module")
def study(
    request: pytest.FixtureRequest, run: MakeRun, tmp_path_factory: pytest.TempPathFactory
) -> Study:
    """Return full and SAID of a model, task, projection, metric, group and device of one name."""
    name, root = request.param, tmp_path_factory.mktemp("study")
    facts = {"model": name, "task": name, "device": name, "notes": [name], "versions": {name: name}}
    runs = [run("full", 0.8 + seed / 100, seed=seed, **facts) for seed in range(2)]
    groups = {name: Group(D=10, scale=2.0)}
    runs += [
        run("said", value, d=d, seed=seed, groups=groups, projection=name, started=name, **facts)
        for d, value in ((10, 0.6), (100, 0.7), (1000, 0.78))
        for seed in range(2)
    ]
    runs.append(run("said", None, d=5000, projection=name, status="failed", reason=name, **facts))
    records = [
        replace(
            one,
            metric=replace(one.metric, name=name),
            folder=root / f"{name.replace('/', '_')}{index}",
        )
        for index, one in enumerate(runs)
    ]
    return estimate(records), records, root


def test_markdown_has_whole_tables_and_nothing_but_text(study: Study) -> None:
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    cells: list[list[str]] = []
    for token in reader.parse(formats.markdown(*study)):
        if token.type == "tr_open":
            cells.append([])
        if token.type == "inline":
            kinds = {part.type for part in token.children or []}
            assert kinds <= {"text", "text_special", "strong_open", "strong_close"}
            content = "".join(part.content for part in token.children or [])
            cells[-1:] = [[*cells[-1], content]] if cells else []
        assert token.type not in ("html_block", "code_block", "fence")
    shown = line(study[0][0].model).strip()
    assert any(shown in cell for row in cells for cell in row)


def test_a_page_has_only_the_tags_of_the_report(study: Study) -> None:
    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__(convert_charrefs=True)
            self.tags: list[str] = []
            self.texts: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.append(tag)
            assert not {key for key, _ in attrs if key.startswith("on")}
            linked = [one or "" for key, one in attrs if key in ("href", "src")]
            assert all(one.startswith("#") for one in linked)

        def handle_data(self, data: str) -> None:
            self.texts.append(data)

    reader = Reader()
    reader.feed(html(*study))
    assert not {"b", "i", "img", "link", "script"} & set(reader.tags)
    assert reader.tags.count("svg") == sum(len(one.plots) for one in build(*study))
    assert any(line(study[0][0].model) in text for text in reader.texts)


def test_a_plot_in_a_page_is_xml_that_holds_names_as_text(study: Study) -> None:
    for section in build(*study):
        for plot in section.plots:
            root = ElementTree.fromstring(inline(plot).replace("svg ", f"svg xmlns='{SVG}' ", 1))
            assert root.get("aria-label") == line(plot.text)
            names = {element.tag.removeprefix(f"{{{SVG}}}") for element in root.iter()}
            assert names <= {
                "svg",
                "g",
                "defs",
                "path",
                "style",
                "text",
                "use",
                "clipPath",
                "rect",
                "image",
                "tspan",
            }


def test_no_cell_of_csv_is_a_formula(study: Study) -> None:
    text = formats.table_csv(*study)
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert len(rows) == len(study[0])
    for row in rows:
        assert len(row) == len(head)
        assert not [cell for cell in row if re.match(r"\s*[=+@]|\s*-[^\d.]", cell)]
    assert len(text.splitlines()) == len(rows) + 1


def test_latex_holds_no_command_but_the_reports(study: Study) -> None:
    text = formats.latex(*study)
    commands = set(re.findall(r"\\(?:[A-Za-z]+|.)", text.partition("\n")[2], re.S))
    own = {r"\begin", r"\end", r"\toprule", r"\midrule", r"\bottomrule", "\\\\", r"\le"}
    own |= {r"\textbackslash", r"\textless", r"\textgreater", r"\asciicircum", r"\textasciitilde"}
    own |= {f"\\{char}" for char in "{}$&#_%"} | {r"\textasciicircum"}
    assert commands <= own
    comment, begin, _, *lines = text.splitlines()
    assert comment.startswith("% from ")
    assert begin == r"\begin{tabular}{lr}"
    cells = [len(re.findall(r"(?<!\\)&", row)) for row in lines if row.endswith(r" \\")]
    assert cells == [1, 1]


@pytest.mark.parametrize("suffix", list(formats.FORMATS))
def test_every_format_is_written(study: Study, suffix: str, tmp_path: Path) -> None:
    formats.write(tmp_path / f"report{suffix}", *study)
    assert (tmp_path / f"report{suffix}").stat().st_size > 0


def test_a_terminal_shows_names_as_text(study: Study) -> None:
    console = Console(width=400, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(table.show(study[0]))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert not {"\x1b", "\u202e", "\udcff"} & set(shown)
    name = terminal(study[0][0].model)
    assert all(part.strip() in shown for part in name.splitlines())


def test_a_plot_takes_no_name_for_tex(study: Study, tmp_path: Path) -> None:
    assert all(file.exists() for file in draw(study[0], tmp_path))
