"""Plots of what stands beside d90: lines of numbers, and lambda by layer and d."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from said_lightning.analysis.plots.canvas import COLOURS, Plot, grid_of_d, look, plain, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES, _OF_MANY = 8, 6  # d that a plot shows: all up to the first, else as many as the second
_NAME = 24  # letters of a name
_LIGHT = "#fefefe"  # on a dark cell, whatever the paper's colour
_MARGINS = (0.8, 0.2, 0.35, 1.1)  # with room for -0.472 beside and a legend below
_BELOW: dict[str, Any] = {"fontsize": 8, "loc": "upper left", "bbox_to_anchor": (-0.02, -0.22)}
Points = Sequence[tuple[float | int, float | int]]


def some(every: Sequence[int]) -> list[int]:
    """Return a few of many d, evenly spaced with both ends; all where they are few."""
    number = len(every) if len(every) <= _LINES else _OF_MANY
    places = {round(i * (len(every) - 1) / max(number - 1, 1)) for i in range(number)}
    return [every[place] for place in sorted(places)]


def lines(
    name: str,
    axes: tuple[str, str],
    drawn: Mapping[str, Points],
    runs: str,
    *,
    over_d: bool = False,
    joined: bool = True,
) -> Plot:
    """Return a line, or points alone, for each name; the x axis is logarithmic."""

    def draw(axis: "Axes") -> None:
        for index, (who, points) in enumerate(drawn.items()):
            colour, marker = look(index)
            style = "-" if joined and len(points) > 1 else ""
            axis.plot(
                *zip(*points, strict=True),
                color=colour,
                marker=marker,
                markersize=5,
                linestyle=style,
                label=shown(who),
            )
        _logarithmic(axis, [x for points in drawn.values() for x, _ in points], over_d)
        axis.set_xlabel(axes[0])
        axis.set_ylabel(shown(axes[1]))
        axis.legend(**_BELOW, ncols=2)

    ends = "; ".join(
        f"{who} from {points[0][1]:.4g} to {points[-1][1]:.4g}" for who, points in drawn.items()
    )
    return Plot(name, f"{name}: {axes[1]} over {axes[0]}: {ends}.", draw, 3.5, _MARGINS, runs)


def rates(
    name: str, metric: str, by_d: Mapping[int, Points], chosen: Mapping[int, float], runs: str
) -> Plot:
    """Return the metric over the learning rate, a line for each d, strong at the largest.

    A ring marks the rate of each d that is `chosen`.
    """
    every = some(sorted(by_d))

    def draw(axis: "Axes") -> None:
        for index, d in enumerate(every):
            strength = 0.3 + 0.7 * (index + 1) / len(every)
            how = {"color": COLOURS[0], "alpha": strength}
            axis.plot(*zip(*by_d[d], strict=True), marker="o", markersize=4, label=f"{d:,}", **how)  # type: ignore[arg-type]
        rings = [(lr, value) for d in every for lr, value in by_d[d] if lr == chosen.get(d)]
        if rings:
            axis.plot(
                *zip(*rings, strict=True),
                linestyle="",
                marker="o",
                markersize=9,
                markerfacecolor="none",
                color=COLOURS[1],
                label="chosen",
            )
        _logarithmic(axis, [x for d in every for x, _ in by_d[d]], False)
        axis.set_xlabel("learning rate of theta (log scale)")
        axis.set_ylabel(shown(metric))
        axis.legend(title="d", **_BELOW, ncols=5)

    best = ", ".join(f"{chosen[d]:.3g} at d {d:,}" for d in every if d in chosen)
    text = f"{name}: {metric} over the learning rate, at {len(every)} d; chosen: {best or 'none'}."
    return Plot(name, text, draw, 3.5, _MARGINS, runs)


def _logarithmic(axis: "Axes", x: Sequence[float | int], over_d: bool) -> None:
    low, high = min(x), max(x)
    if over_d:
        grid_of_d(axis, low, high)
        return
    axis.set_xscale("log")
    axis.set_xlim(low / 1.3, high * 1.3)
    plain(axis.xaxis, (1.0,) if high > 100 * low else (1.0, 2.0, 5.0))
    axis.xaxis.set_major_formatter("{x:,.5g}")


def heat(name: str, by_d: Mapping[int, Mapping[str, float]], runs: str) -> Plot:
    """Return lambda as a map, layer groups by d: white at 0, coloured by its sign, and written."""
    shown_d = some(sorted(by_d))
    groups = list(dict.fromkeys(group for d in shown_d for group in by_d[d]))
    values = np.array([[by_d[d].get(group, np.nan) for d in shown_d] for group in groups])
    most = float(np.nanmax(np.abs(values))) or 1.0

    def draw(axis: "Axes") -> None:
        axis.pcolormesh(values, cmap="RdBu_r", vmin=-most, vmax=most)
        axis.invert_yaxis()
        # Texts in place of ticks, which take longer than all else here.
        axis.set(xticks=[], yticks=[])
        axis.set_xlabel("d, trained numbers", labelpad=16)
        for place, group in enumerate(groups):
            axis.text(-0.08, place + 0.5, shown(group)[:_NAME], ha="right", va="center", size=8)
        for place, d in enumerate(shown_d):
            axis.text(place + 0.5, len(groups) + 0.1, f"{d:,}", ha="center", va="top", size=8)
        for (row, column), value in np.ndenumerate(values):
            ink = _LIGHT if abs(value) > 0.6 * most else "black"
            text = "" if np.isnan(value) else f"{value:.2f}"
            axis.text(column + 0.5, row + 0.5, text, ha="center", va="center", size=7, color=ink)

    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    text = f"{name}: lambda of {len(groups)} layer groups at {len(shown_d)} d"
    left = 0.25 + 0.07 * min(max(map(len, groups)), _NAME)
    margins, height = (left, 0.2, 0.35, 0.5), 0.85 + 0.21 * max(len(groups), 5)
    return Plot(name, f"{text}, {low:.3f} to {high:.3f}.", draw, height, margins, runs)
