"""What the site has besides the pages of docs/, made while mkdocs builds it.

The tutorial is a notebook, shown with the outputs that it was committed with. Files outside of
docs/ that a page links to come along. A line `<!-- made: NAME -->` of a page stands for what the
schema, the yamls or the committed results say.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from said_lightning.analysis.estimator import estimate
from said_lightning.analysis.plots.canvas import PALETTE, Plot, inline
from said_lightning.analysis.report.layout import Section
from said_lightning.analysis.report.sections import build
from said_lightning.config.describe import Key, describe, keys_of
from said_lightning.runs.index import find
from said_lightning.runs.text import html
from said_lightning.tools.pretrain.settings import PretrainConfig, read_settings

ROOT = Path(__file__).parents[1]
DOCS, CONF = ROOT / "docs", ROOT / "conf"
OUTSIDE = "repository"  # the site's folder for files from outside of docs/
# A block of code, in which nothing is a link, or a link to a file.
LINK = re.compile(
    r"^(?P<code>`{3,}).*?^(?P=code)"
    r"|(?P<image>!?)\[(?P<text>[^\]]*)\]\((?!\w+:|#)(?P<path>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)",
    re.M | re.S,
)
MADE = re.compile(r"^<!-- made: (\w+) ?(.*) -->$", re.M)
COLOUR = re.compile(r"\x1b\[[\d;]*m")  # of a terminal
OUTPUT = "{ .text .output .no-copy }"
AS_THEY_ARE = {".md", ".png", ".svg"}
LANGUAGES = {".py": "python", ".yaml": "yaml"}


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the notebook's page, and the files outside of docs/ that pages link to."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        page = notebook.src_uri.replace(".ipynb", ".md")
        files.append(File.generated(config, page, content=cells(notebook.content_string)))
    for path in sorted(set(linked(files.documentation_pages()))):
        if path.suffix in AS_THEY_ARE:
            files.append(File.generated(config, address(path), abs_src_path=str(path)))
        else:
            files.append(File.generated(config, address(path), content=source(path)))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where the site has what they lead to, and fill in what is made."""
    here = page.file.src_uri

    def lead(found: re.Match[str]) -> str:
        path = target(here, found["path"] or "")
        if found["code"] or not path.exists():
            return found[0]
        if path.is_dir():  # a reader of the site has no checkout at hand
            return found["text"]
        there = posixpath.relpath(address(path), posixpath.dirname(here) or ".")
        return f"{found['image']}[{found['text']}]({there}{found['anchor'] or ''})"

    markdown = LINK.sub(lead, markdown)
    return MADE.sub(lambda found: "\n".join(MAKERS[found[1]](found[2])), markdown)


def linked(pages: Iterable[File]) -> Iterator[Path]:
    """Yield the files outside of docs/ that pages link to."""
    for page in pages:
        for found in LINK.finditer(page.content_string):
            path = target(page.src_uri, found["path"] or "")
            if path.is_file() and DOCS not in path.parents:
                yield path


def target(page: str, link: str) -> Path:
    """Return the file or folder that a link of a page leads to."""
    outside = page.startswith(f"{OUTSIDE}/")
    home = ROOT / page.removeprefix(f"{OUTSIDE}/") if outside else DOCS / page
    return (home.parent / link).resolve()


def address(path: Path) -> str:
    """Return where the site has a file: a notebook and source code are pages."""
    if DOCS in path.parents:
        return path.relative_to(DOCS).as_posix().replace(".ipynb", ".md")
    uri = f"{OUTSIDE}/{path.relative_to(ROOT).as_posix()}"
    return uri if path.suffix in AS_THEY_ARE else f"{uri}.md"


def source(path: Path) -> str:
    """Return a page that shows a text file."""
    text, language = path.read_text(encoding="utf-8"), LANGUAGES.get(path.suffix, "text")
    return f"# {path.relative_to(ROOT)}\n\n{fence(text, language)}\n"


def fence(text: str, language: str) -> str:
    """Return a text as a block of a page."""
    return f"````{language}\n{text.rstrip()}\n````\n"


def cells(notebook: str) -> str:
    """Return a notebook as a page: its texts, its code, and its outputs as they were committed."""
    parts = []
    for one in nbformat.reads(notebook, as_version=4).cells:
        if one.cell_type == "markdown":
            parts.append(one.source)
        else:
            magic, _, command = one.source.partition("\n")
            shell = magic.startswith("%%bash")
            parts.append(fence(command, "bash") if shell else fence(one.source, "python"))
            parts += map(output, one.outputs)
    return "\n\n".join(parts)


def output(one: Any) -> str:
    """Return an output of a cell as a part of a page."""
    if one.output_type == "stream":
        return fence(COLOUR.sub("", one.text), OUTPUT)
    if "image/png" in one.data:
        return f"![{one.data['text/plain']}](data:image/png;base64,{one.data['image/png'].strip()})"
    return fence(one.data["text/plain"], OUTPUT)


def keys(section: str) -> Iterator[str]:
    """Yield a table of the config's keys of one section; `run` is what lies in none."""
    if section == "pretrain":
        defaults = vars(read_settings([]))
        yield from table(keys_of(PretrainConfig, given=defaults))
        return
    every = describe()
    sections = {key.name.split(".")[0] for key in every if "." in key.name}
    if section == "run":
        yield from table(key for key in every if key.name.split(".")[0] not in sections)
    else:
        yield from table(key for key in every if f"{key.name}.".startswith(f"{section}."))


def table(found: Iterable[Key]) -> Iterator[str]:
    """Yield the lines of a table of keys."""
    yield "| key | type | default |\n|---|---|---|"
    for key in found:
        default = f"`{cell(key.default)}`" if key.default else ""
        yield f"| `{key.name}`<br>{cell(key.meaning)} | {cell(key.type)} | {default} |"


def cell(text: str) -> str:
    """Return a text as a cell of a table holds it."""
    return text.replace("|", "\\|")


def options(group: str) -> Iterator[str]:
    """Yield a table of what a group of yamls has to choose from."""
    yield f"| `{group}=` | |\n|---|---|"
    for path in sorted((CONF / group).glob("*.yaml")):
        yield f"| `{path.stem}` | {cell(about(path))} |"


def about(path: Path) -> str:
    """Return the first sentence of a yaml's comment, or else the path of its model."""
    text = path.read_text(encoding="utf-8").replace("# @package _global_\n", "")
    comment = " ".join(re.findall(r"\A(?:#.*\n)+", text))
    sentences = " ".join(re.sub(r"^#", "", comment, flags=re.M).split())
    path_of_model = re.search(r"^path: (.*)$", text, re.M)
    first = re.split(r"(?<=[.?])\s(?=[A-Z])", sentences)[0]
    return first or (f"`{path_of_model[1]}`" if path_of_model else "")


def yamls(folder: str) -> Iterator[str]:
    """Yield the yamls of a folder of conf/ as they are."""
    for path in sorted((CONF / folder).glob("*.yaml")):
        yield f"`conf/{path.relative_to(CONF)}`:\n\n{fence(path.read_text(), 'yaml')}"


def plots(place: str) -> Iterator[str]:
    """Yield what a section of a study's report says and draws, from the committed runs."""
    study, _, title = place.partition(": ")
    (section,) = (one for one in report(study) if one.title == title)
    yield f"{section.text}\n"
    yield '<div class="plots">'
    yield from map(figure, section.plots)
    yield "</div>"


@cache
def report(study: str) -> list[Section]:
    """Return the report on the runs of a folder."""
    records, _ = find(ROOT / study)
    return build(estimate(records), records, ROOT / study)


def figure(plot: Plot) -> str:
    """Return a plot and its description as a part of a page."""
    return f"<figure>{inline(plot)}<figcaption>{html(plot.text)}</figcaption></figure>"


def colours(_: str) -> Iterator[str]:
    """Yield the style that says what the plots' colours are, on light and on dark paper."""
    for number, scheme in enumerate(("default", "slate")):
        shades = {name: both[number] for name, both in PALETTE.items()}
        shades["paper"] = "var(--md-default-bg-color)"  # the page's own
        said = "".join(f"--{name}: {shade};" for name, shade in shades.items())
        yield f"<style>[data-md-color-scheme={scheme}] {{{said}}}</style>"


MAKERS = {
    "colours": colours,
    "keys": keys,
    "options": options,
    "plots": plots,
    "yamls": yamls,
}
