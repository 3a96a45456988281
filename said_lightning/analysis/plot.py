"""The metric over d, one panel for each (model, task), as PNG and SVG."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from said_lightning.analysis.d90 import SHARE
from said_lightning.analysis.estimator import Row
from said_lightning.analysis.table import estimate_of, label, title
from said_lightning.runs.text import matplotlib as shown

# Okabe and Ito's palette, distinct for every kind of colour vision; markers distinguish series
# without colour, and with one marker more than there are colours 42 series look different.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = "osD^vPX"
_INK, _FAINT = "#333333", "#8a8a8a"
_COLUMNS = 3
_PANEL = (5.4, 4.0)  # inches
_LINE = 0.06  # a line of text, as a share of an axis' height
_ROOM = 0.5  # what lines of text may take of it
_THRESHOLD = f"{SHARE * 100:g} % of full"
_LINES = {"full": "-", _THRESHOLD: "--", "trivial": ":"}

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.12,
    "font.size": 9,
    "svg.hashsalt": "said_lightning",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def draw(rows: Sequence[Row], out: Path) -> list[Path]:
    """Draw the rows' curves into `out/d90.png` (150 dpi) and `out/d90.svg`; return the two paths.

    The same rows give the same bytes.

    Raises:
        OSError: `out` cannot be written.
    """
    panels = [
        list(panel) for _, panel in groupby(rows, key=lambda row: (row.model, row.task, row.panel))
    ]
    labels = sorted({label(row) for row in rows})
    across = min(len(panels), _COLUMNS)
    down = -(-len(panels) // across)
    out.mkdir(parents=True, exist_ok=True)
    with rc_context(_STYLE):
        figure = Figure((across * _PANEL[0], down * _PANEL[1]), layout="constrained")
        axes = figure.subplots(down, across, squeeze=False).flat
        for axis, panel in zip(axes, panels, strict=False):
            _panel(axis, panel, labels)
        for axis in axes[len(panels) :]:
            axis.remove()
        # Straight to the canvases: savefig would draw everything once more for each file.
        figure.set_dpi(150)
        FigureCanvasAgg(figure).print_png(out / "d90.png", metadata={"Software": None})
        figure.set_layout_engine("none")  # the places that it found do for both
        figure.set_dpi(72)
        FigureCanvasSVG(figure).print_svg(out / "d90.svg", metadata={"Date": None, "Creator": None})
    return [out / "d90.png", out / "d90.svg"]


def _panel(axis: Axes, rows: list[Row], labels: list[str]) -> None:
    for row in rows:
        _curve(axis, row, labels.index(label(row)))
    levels = _levels(rows[0])
    _frame(axis, rows, list(levels.values()))
    _mark_levels(axis, levels)
    _mark_d90(axis, rows, labels)
    pad = 8 + 15 * -(-len(rows) // 2)  # points: the legend has two names to a line
    axis.set_title(shown(title(rows[0])), loc="left", weight="bold", pad=pad)
    axis.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, frameon=False)


def _curve(axis: Axes, row: Row, index: int) -> None:
    colour, marker = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
    seeds = [(point.d, value) for point in row.curve for value in point.values]
    axis.plot(
        [d for d, _ in seeds], [value for _, value in seeds], ".", color=colour, alpha=0.4, ms=4
    )
    axis.plot(
        [point.d for point in row.curve],
        [point.mean for point in row.curve],
        marker=marker,
        color=colour,
        markersize=5,
        label=shown(_legend(row)),
    )


def _legend(row: Row) -> str:
    """Return the series' name, with the answer where the panel itself does not mark it."""
    return label(row) if _bound(row) is not None else f"{label(row)}: {estimate_of(row)}"


def _bound(row: Row) -> int | None:
    """Return where a row is marked: its d90, or the d that is an upper bound of it."""
    return row.d90 if row.d90 is not None else row.interval[1]


def _levels(row: Row) -> dict[str, float]:
    """Return the horizontal lines of a panel, which all its rows share."""
    levels = {"full": row.full, _THRESHOLD: row.threshold, "trivial": row.trivial}
    return {name: level for name, level in levels.items() if level is not None}


def _frame(axis: Axes, rows: list[Row], levels: list[float]) -> None:
    """Set scales and axis labels, with room below the curves for a line of text for each d90."""
    values = [value for row in rows for point in row.curve for value in point.values]
    low, high = min([*values, *levels], default=0.0), max([*values, *levels], default=1.0)
    margin = 0.06 * (high - low or 1.0)
    low, high = low - margin, high + margin
    room = _line(rows) * sum(_bound(row) is not None for row in rows)
    axis.set_ylim(low - (high - low) * room / (1 - room), high)
    grid = [point.d for row in rows for point in row.curve] or [1]
    span = max(grid) / min(grid)
    axis.set_xscale("log")
    axis.set_xlim(min(grid) / (1.2 * span**0.04), max(grid) * 1.2 * span**0.04)
    steps = (1.0,) if span > 10**2.2 else (1.0, 2.0, 5.0)
    axis.xaxis.set_major_locator(LogLocator(subs=steps))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda d, _: f"{d:,.0f}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("d, trained numbers (log scale)")
    several = any(len(point.values) > 1 for row in rows for point in row.curve)
    seeds = "mean over seeds (dots: each seed)" if several else "one seed"
    axis.set_ylabel(shown(f"{rows[0].metric or 'metric'}, {seeds}"))


def _line(rows: list[Row]) -> float:
    """Return the height of a line of text for each d90, smaller where there are many."""
    return min(_LINE, _ROOM / max(sum(_bound(row) is not None for row in rows), 1))


def _mark_levels(axis: Axes, levels: dict[str, float]) -> None:
    """Draw the lines and name them in the right margin, moved apart where they would touch."""
    bottom, top = axis.get_ylim()
    gap = _LINE * (top - bottom)
    free = bottom
    for name, level in sorted(levels.items(), key=lambda item: item[1]):
        axis.axhline(level, color=_FAINT, linewidth=1, linestyle=_LINES[name], zorder=1)
        free = max(level, free)
        text = f"{name} {level:.3f}"
        axis.text(1.01, free, text, transform=axis.get_yaxis_transform(), va="center", size=8)
        free += gap


def _mark_d90(axis: Axes, rows: list[Row], labels: list[str]) -> None:
    """Mark d90 on the threshold with its interval, and drop a line from it to its label.

    The smallest d has the lowest label, so that no line runs through another's.
    """
    bottom, top = axis.get_ylim()
    marked = [(d, row) for row in rows if (d := _bound(row)) is not None]
    for i, (d, row) in enumerate(sorted(marked, key=lambda mark: mark[0])):
        if row.threshold is None:
            continue
        colour = _COLOURS[labels.index(label(row)) % len(_COLOURS)]
        foot = bottom + (i + 0.6) * _line(rows) * (top - bottom)
        axis.plot([d, d], [foot, row.threshold], color=colour, linewidth=1, linestyle=":", zorder=1)
        axis.plot([d], [row.threshold], "D", markerfacecolor="white", color=colour, markersize=7)
        if row.level is not None:
            ends = [end or edge for end, edge in zip(row.interval, axis.get_xlim(), strict=True)]
            axis.plot(ends, [row.threshold] * 2, color=colour, linewidth=6, alpha=0.25, zorder=1)
        text = f"d90 {estimate_of(row)}"
        axis.annotate(
            text, (d, foot), (4, 0), textcoords="offset points", va="center", color=colour, size=8
        )
