"""The metric over d, one plot for each (model, task), with d90 and its interval below."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from said_lightning.analysis.d90 import SHARE
from said_lightning.analysis.estimator import Row
from said_lightning.analysis.plots.canvas import FAINT, Look, Plot, grid_of_d, look, save, shown
from said_lightning.analysis.plots.spans import span
from said_lightning.analysis.table import estimate_of, label, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TEXT, _CURVES = 0.18, 2.2  # inches of a line of text, and of the curves
_THRESHOLD = f"{SHARE * 100:g} %"
_LINES = {"full": "-", _THRESHOLD: "--", "trivial": ":"}


def draw(rows: Sequence[Row], out: Path) -> list[Path]:
    """Draw the rows' curves into `out/d90.png` and `out/d90.svg`; return the two paths.

    Where no run has a metric nothing is drawn.

    Raises:
        OSError: `out` cannot be written.
    """
    looks = looks_of(rows)
    panels = [plot for panel in panels_of(rows) if (plot := curves(panel, looks)) is not None]
    if not panels:
        return []
    out.mkdir(parents=True, exist_ok=True)
    files = [out / "d90.png", out / "d90.svg"]
    save(panels, *files)
    return files


def panels_of(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of each model, task and setting."""
    return [list(panel) for _, panel in groupby(rows, key=title)]


def looks_of(rows: Sequence[Row]) -> dict[str, Look]:
    """Return how each series looks in all plots of these rows, by its label."""
    return {name: look(i) for i, name in enumerate(sorted({label(row) for row in rows}))}


def curves(rows: Sequence[Row], looks: Mapping[str, Look], runs: str = "") -> Plot | None:
    """Return the metric over d of a panel's rows; None where no run has a metric."""
    if not any(row.curve for row in rows):
        return None
    marked = sorted((row.d90, place) for place, row in enumerate(rows) if row.d90 is not None)

    def draw(axis: "Axes") -> None:
        grid = [point.d for row in rows for point in row.curve]
        grid += [end for _, place in marked for end in rows[place].interval if end is not None]
        grid += [d90 for d90, _ in marked]
        grid_of_d(axis, min(grid), max(grid))
        for row in rows:
            _curve(axis, row, looks[label(row)])
        step = _frame(axis, rows, len(marked))
        _mark_levels(axis, rows[0])
        bottom = axis.get_ylim()[0]
        for index, (d90, place) in enumerate(marked):
            # The smallest d is lowest, so that no line runs through another's interval.
            look, foot = looks[label(rows[place])], bottom + (index + 0.7) * step
            ends = [foot, rows[place].threshold or foot]
            axis.plot([d90] * 2, ends, color=look.colour, linewidth=0.8, linestyle=":", zorder=1)
            span(axis, rows[place], foot, look)
        axis.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), fontsize=8)

    named = ", ".join(f"{label(row)} {estimate_of(row)}" for row in rows)
    text = f"{rows[0].metric or 'metric'} over d on {title(rows[0])}; d90: {named}."
    top = 0.35 + _TEXT * len(rows)
    height = top + _CURVES + _TEXT * len(marked) + 0.5
    return Plot(title(rows[0]), text, draw, height, (0.65, 0.85, top, 0.5), runs)


def _curve(axis: "Axes", row: Row, look: Look) -> None:
    seeds = [(point.d, value) for point in row.curve for value in point.values]
    colour, marker = look
    if len(seeds) > len(row.curve):
        axis.plot(*zip(*seeds, strict=True), ".", color=colour, alpha=0.4, markersize=4)
    axis.plot(
        [point.d for point in row.curve],
        [point.mean for point in row.curve],
        marker=marker,
        color=colour,
        markersize=5,
        label=shown(f"{label(row)}: {estimate_of(row)}"),
    )


def _levels(row: Row) -> dict[str, float]:
    """Return the horizontal lines of a panel, which all its rows share."""
    levels = {"full": row.full, _THRESHOLD: row.threshold, "trivial": row.trivial}
    return {name: level for name, level in levels.items() if level is not None}


def _frame(axis: "Axes", rows: Sequence[Row], marked: int) -> float:
    """Set the metric's scale, with room below for each d90, whose height is returned."""
    values = [value for row in rows for point in row.curve for value in point.values]
    values += _levels(rows[0]).values()
    low, high = min(values), max(values)
    margin = 0.06 * (high - low or 1.0)
    step = (high - low + 2 * margin) * _TEXT / _CURVES
    axis.set_ylim(low - margin - step * marked, high + margin)
    several = any(len(point.values) > 1 for row in rows for point in row.curve)
    axis.set_ylabel(shown(f"{rows[0].metric or 'metric'}{' (dots: seeds)' if several else ''}"))
    return step


def _mark_levels(axis: "Axes", row: Row) -> None:
    """Draw the lines and name them in the right margin, moved apart where they would touch."""
    bottom, top = axis.get_ylim()
    free = bottom
    for name, level in sorted(_levels(row).items(), key=lambda item: item[1]):
        axis.axhline(level, color=FAINT, linewidth=1, linestyle=_LINES[name], zorder=1)
        free = max(level, free)
        text = f"{name} {level:.3f}"
        axis.text(1.01, free, text, transform=axis.get_yaxis_transform(), va="center", size=8)
        free += 0.06 * (top - bottom)
