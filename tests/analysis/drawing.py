"""What plots draw, read back from the axis that they draw on."""

from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from said_lightning.analysis.plots.canvas import Plot


def drawn(plot: Plot) -> Axes:
    """Return the axis that a plot has drawn on."""
    axis = Figure().subplots()
    plot.draw(axis)
    return axis


def lines(axis: Axes) -> dict[str, list[tuple[Any, Any]]]:
    """Return the points of every line that has a name."""
    return {
        str(line.get_label()): list(zip(line.get_xdata(), line.get_ydata(), strict=True))  # type: ignore[arg-type]
        for line in axis.lines
        if not str(line.get_label()).startswith("_")
    }


def marked(axis: Axes, gid: str, of: Callable[[Line2D], Any] = Line2D.get_xdata) -> list[Any]:
    """Return the x of each line of a kind: d90, open or closed."""
    return [list(of(line)) for line in axis.lines if line.get_gid() == gid]


def texts(axis: Axes) -> list[str]:
    """Return every text on an axis: its title, names, notes and legend."""
    legend = axis.get_legend()
    named = [axis.get_title(loc="left"), axis.get_xlabel(), axis.get_ylabel()]
    named += [one.get_text() for one in axis.texts]
    return named + ([one.get_text() for one in legend.get_texts()] if legend else [])
