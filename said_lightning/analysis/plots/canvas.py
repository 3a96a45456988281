"""What all plots share: the palette, a plot as text and a drawing, and how it becomes a file.

matplotlib is imported where something is drawn: tables do not wait for it, nor need it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from said_lightning.errors import needs
from said_lightning.runs.text import html, line, matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# By name, on light and on dark paper. The series' colours are Okabe and Ito's, distinct for every
# kind of colour vision, and lighter ones of the same hues.
PALETTE = {
    "ink": ("#333333", "#dddddd"),
    "faint": ("#767676", "#9c9c9c"),
    "line": ("#e3e3e3", "#3a3a3a"),
    "paper": ("#ffffff", "#171717"),
    "series-0": ("#0072b2", "#4aa3df"),
    "series-1": ("#d55e00", "#ff8c42"),
    "series-2": ("#009e73", "#2fc79b"),
    "series-3": ("#cc79a7", "#e29cc4"),
    "series-4": ("#56b4e9", "#8fd0ff"),
    "series-5": ("#e69f00", "#ffc04d"),
}
INK, FAINT, LINE, PAPER, *COLOURS = (light for light, _ in PALETTE.values())
# Markers distinguish series without colour; with one more than there are colours, 42 differ.
MARKERS = "osD^vPX"
WIDTH = 4.6  # inches of a plot
_COLUMNS = 3
_STYLE: dict[str, Any] = {
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), FAINT),
    **dict.fromkeys(("axes.labelcolor", "text.color"), INK),
    **dict.fromkeys(("xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.spines.right", "axes.spines.top", "legend.frameon"), False),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor"), PAPER),
    "font.size": 9,
    "svg.hashsalt": "said_lightning",
}


class Look(NamedTuple):
    """How a series looks in every plot."""

    colour: str
    marker: str


@dataclass(frozen=True)
class Plot:
    """A drawing on one axis, `height` inches high, and the same in words for who cannot see it.

    `margins` are inches about the axis: left, right, top and bottom. To find them by drawing all
    texts first would take longer than the drawing. `runs` are the numbers of the runs that it
    shows, where they have some.
    """

    title: str
    text: str
    draw: Callable[["Axes"], None]
    height: float
    margins: tuple[float, float, float, float]
    runs: str = ""


def look(index: int) -> Look:
    """Return the look of the series with this index."""
    return Look(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)])


def save(plots: Sequence[Plot], png: Path, svg: Path) -> None:
    """Draw plots side by side into a PNG (150 dpi) and an SVG; the same plots give the same bytes.

    Raises:
        OSError: a file cannot be written.
    """
    across = min(len(plots), _COLUMNS)
    down = -(-len(plots) // across)
    row = max(plot.height for plot in plots)
    with _figure((across * WIDTH, down * row)) as figure:
        for place, plot in enumerate(plots):
            _fill(figure, plot, place % across * WIDTH, (down - place // across) * row)
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        # Straight to the canvases: savefig would draw everything once more for each file.
        figure.set_dpi(150)
        FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
        figure.set_dpi(72)
        FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None, "Creator": None})


def inline(plot: Plot) -> str:
    """Return a plot as an SVG element for a page, whose style says what its colours are."""
    out = StringIO()
    # Text stays text, and what an id names is this plot's.
    style = {"svg.fonttype": "none", "svg.hashsalt": line(plot.title)}
    with _figure((WIDTH, plot.height), style) as figure:
        _fill(figure, plot, 0.0, plot.height)
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        figure.patch.set_visible(False)
        no_facts = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(out, metadata=no_facts)
    drawn = out.getvalue()
    drawn = re.sub(r' id="[a-z0-9A-Z]+_\d+"', "", drawn[drawn.index("<svg") :])
    for name, (light, _) in PALETTE.items():
        drawn = drawn.replace(f": {light}", f": var(--{name})")
    box = f'viewBox="0 0 {WIDTH * 72:g} {plot.height * 72:g}"'
    head = f'<svg role="img" aria-label="{html(plot.text)}" {box}>'
    return re.sub(r"<svg [^>]*>", lambda _: head, drawn, count=1).replace("xlink:href", "href")


@contextmanager
def _figure(size: tuple[float, float], style: dict[str, Any] | None = None) -> Iterator["Figure"]:
    needs("matplotlib", "report", "a plot")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rc: Any = _STYLE | (style or {})
    with rc_context(rc):
        yield Figure(size)


def _fill(figure: "Figure", plot: Plot, x: float, y: float) -> None:
    """Draw a plot whose left upper corner lies at x and y, inches from the left lower one."""
    left, right, top, bottom = plot.margins
    wide, high = figure.get_size_inches()
    size = ((WIDTH - left - right) / wide, (plot.height - top - bottom) / high)
    axis = figure.add_axes(((x + left) / wide, (y - plot.height + bottom) / high, *size))
    figure.text((x + 0.1) / wide, (y - 0.2) / high, shown(plot.title), weight="bold", size=10)
    plot.draw(axis)


def shown(text: str) -> str:
    """Return a text from outside as one short line of a plot."""
    short = line(text)
    return matplotlib(short if len(short) <= 60 else f"{short[:59]}\u2026")


def grid_of_d(axis: "Axes", low: float | int, high: float | int) -> None:
    """Make the x axis one of d, with a margin about both ends."""
    span = high / low
    margin = 1.15 * span**0.04 if span > 2 else 1.8
    axis.set_xscale("log")
    axis.set_xlim(low / margin, high * margin)
    plain(axis.xaxis, (1.0,) if span > 150 else (1.0, 2.0, 5.0))
    axis.set_xlabel("d, trained numbers (log scale)")


def plain(axis: Any, steps: tuple[float, ...] = (1.0, 3.0)) -> None:
    """Write the numbers of a logarithmic axis out, at these steps of each power of ten."""
    axis.get_major_locator().set_params(subs=steps)
    axis.set_major_formatter("{x:,.0f}")
    axis.axes.minorticks_off()
