"""The report as one HTML page, which needs nothing else and runs no script."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.plots.canvas import PALETTE, Plot, inline
from said_lightning.analysis.report.layout import CITING, Section
from said_lightning.analysis.report.sections import build
from said_lightning.errors import needs
from said_lightning.runs.record import Record
from said_lightning.runs.text import line

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TITLE = "d90: how many numbers does it take to fine-tune?"
FOLDER = Path(__file__).parent


def html(rows: Sequence[Row], records: Sequence[Record], root: Path) -> str:
    """Return the report as a page; the same runs give the same bytes.

    Raises:
        UserError: jinja2 or matplotlib is not installed.
    """
    return page(main(build(rows, records, root)))


def page(inner: str, live: Sequence[str] = ()) -> str:
    """Return a page about what `main` made; one that follows a sweep has `live` lines on it."""
    environment, markup = _environment()
    return environment.get_template("page.html").render(main=markup(inner), live=live)


def main(sections: Sequence[Section]) -> str:
    """Return sections in HTML, their plots drawn."""
    environment, _ = _environment()
    return environment.get_template("sections.html").render(sections=sections)


@cache
def _environment() -> "tuple[Environment, type[Markup]]":
    """Return what makes the pages: whatever it is given is text, but for plots and `main`."""
    jinja2 = needs("jinja2", "report", "a report in HTML")
    markup = needs("markupsafe", "report", "a report in HTML").Markup

    def text(value: Any) -> Any:
        return line(value) if type(value) is str else value

    def svg(plot: Plot) -> Any:
        return markup(inline(plot))

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        finalize=text,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["anchor"] = lambda title: title.lower().replace(" ", "-")
    style = markup((FOLDER / "page.css").read_text(encoding="utf-8"))
    environment.globals |= {"title": TITLE, "palette": PALETTE, "style": style}
    environment.globals |= {"citing": CITING, "svg": svg, "zip": zip}
    return environment, markup
