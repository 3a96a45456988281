"""Text from outside stays text in every format, whatever it holds."""

import csv
import io
import itertools
import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from rich.text import Text

from said_lightning.runs import text
from said_lightning.runs.text import terminal

# Any text, lone surrogates included, and much of what means something somewhere.
ACTIVE = [
    *("\x1b[31m", "\x1b]0;title\x07", "\r", "\n", "\x00", "\x7f", "\x9b", "\u2028", "\u202e"),
    *("[bold]", "[/]", ":smile:", "\\", "`", "**", "_", "|", "<", ">", "&", "~~", "](x)", "![a]"),
    *("$x$", "\\input{x}", "{", "}", "#", "%", "^", "=1+1", "+", "-", "@", "'", '"', "</script>"),
    *("[a]: b", "a_b", "\udcff", "\ud800", " ", "x", "9", "&amp;", "&#60;", "^^5c", "--", "!["),
]
texts = st.text(st.characters(codec=None)) | st.lists(st.sampled_from(ACTIVE)).map("".join)


@given(texts)
@example("done \x1b[2J\x1b]0;pwned\x07\r5 runs: 5 done")
def test_a_terminal_gets_no_control_character_and_no_line_of_its_own(one: str) -> None:
    first, *others = terminal(one).split("\n")
    assert all(line.startswith("  ") for line in others)
    for char in first + "".join(others):
        assert char.isprintable() or char in "\u200c\u200d", ascii(char)


@given(texts)
def test_a_console_shows_brackets_and_codes_as_they_are(one: str) -> None:
    console = Console(width=10_000, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(Text(terminal(one)), soft_wrap=True)
    assert console.file.getvalue() == f"{terminal(one)}\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("one", "shown"),
    [
        ("a\x1b[1mb", r"a\x1b[1mb"),
        ("run\udcff", r"run\xff"),
        ("\ud800", r"\ud800"),
        ("right\u202eto left", r"right\u202eto left"),
        ("tab\tand\u00a0space", "tab and space"),
        ("error\nerror: none", "error\n  error: none"),
        ("a\r\nb", "a\n  b"),
        ("नमस्ते क्\u200dष", "नमस्ते क्\u200dष"),
        ("Prüfung [x] :smile:", "Prüfung [x] :smile:"),
    ],
)
def test_what_cannot_be_seen_is_shown_by_its_code(one: str, shown: str) -> None:
    assert terminal(one) == shown


@given(texts)
@example("a|b\nc")
@example("[click](javascript:alert(1)) <img src=x onerror=alert(1)>")
def test_a_cell_of_markdown_is_one_cell_and_reads_as_the_text(one: str) -> None:
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = reader.parse(f"| a | b |\n| --- | --- |\n| {text.markdown(one)} | x |")
    cells = [
        inner for token, inner in itertools.pairwise(tokens) if token.type in ("td_open", "th_open")
    ]
    assert [token.content for token in cells[:2] + cells[3:]] == ["a", "b", "x"]
    assert all(part.type in ("text", "text_special") for part in cells[2].children or [])
    found = "".join(part.content for part in cells[2].children or [])
    assert found == text.line(one).strip()


@given(texts)
@example("</script><script>alert(1)</script>")
def test_html_holds_no_tag_and_reads_as_the_text(one: str) -> None:
    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__(convert_charrefs=True)
            self.tags: list[str] = []
            self.parts: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags += [tag, *(value or "" for _, value in attrs)]

        def handle_data(self, data: str) -> None:
            self.parts.append(data)

    reader = Reader()
    reader.feed(f'<td title="{text.html(one)}">{text.html(one)}</td>')
    reader.close()
    assert reader.tags == ["td", text.line(one)]
    assert "".join(reader.parts) == text.line(one)


@given(texts)
@example(r"\input{/etc/passwd} & # ^^5cinput")
def test_latex_runs_nothing_and_ends_no_cell(one: str) -> None:
    known = r"\\[{}$&#_%]|\\text(?:backslash|less|greater|asciicircum|asciitilde)\{\}|\$\\le\$"
    assert not re.search(r"[\\{}$&#_%^~\n]", re.sub(known, "", text.latex(one).removeprefix("{}")))
    assert not text.latex(one).lstrip().startswith(("[", "*"))


@given(texts)
@example('=HYPERLINK("http://x")')
@example("\n\t=1+1")
@example("\uff1d1")
def test_a_cell_of_csv_is_no_formula_and_one_line(one: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerow([text.spreadsheet(one), "end"])
    ((cell, end),) = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert (cell.removeprefix("'"), end) == (text.line(one).removeprefix("'"), "end")
    assert not cell.strip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"))


@given(texts)
def test_every_format_can_be_written_as_utf8(one: str) -> None:
    for form in (terminal, text.line, text.html, text.markdown, text.latex, text.spreadsheet):
        form(one).encode()


def test_matplotlib_takes_nothing_for_tex() -> None:
    figures = pytest.importorskip("matplotlib.figure")
    figure = figures.Figure()
    figure.suptitle(text.matplotlib(r"a $\frac$ b $x$"))
    figure.savefig(io.BytesIO(), format="svg")
