"""d90 with its interval, drawn alike in every plot, and the forest of all series."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.plots.canvas import (
    LINE,
    PAPER,
    Look,
    Plot,
    grid_of_d,
    plain,
    shown,
)
from said_lightning.analysis.reading import Reading
from said_lightning.analysis.table import estimate_of, label, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OPEN = "An open end is a broken arm with an arrow, to the edge of what was run."


def span(
    axis: "Axes",
    one: Reading,
    place: float | int,
    look: Look,
    upright: bool = False,
    hollow: bool = True,
) -> None:
    """Draw d90 at a place on the other axis: a mark, and an arm to each end of its interval.

    A closed arm ends at a tick. An open one is broken and runs to the axis' edge, which is set
    already, where an arrow points on. Without an interval there is no arm.
    """
    if one.d90 is None:
        return
    edges = axis.get_ylim() if upright else axis.get_xlim()
    ticks = "__" if upright else "||"
    arrows = "v^" if upright else "<>"

    def draw(d: Sequence[float | int], **how: object) -> None:
        points = ([place] * len(d), d) if upright else (d, [place] * len(d))
        axis.plot(*points, color=look.colour, **how)  # type: ignore[arg-type]

    if one.level is not None:
        for end, edge, tick, arrow in zip(one.interval, edges, ticks, arrows, strict=True):
            if end is None:
                draw([one.d90, edge], linestyle=(0, (2, 2)), linewidth=1.2, gid="open")
                draw([edge], marker=arrow, markersize=6, clip_on=False, gid="open")
            else:
                draw([one.d90, end], linewidth=2, gid="closed")
                draw([end], marker=tick, markersize=7, markeredgewidth=1.5, gid="closed")
    face = PAPER if hollow else look.colour
    draw([one.d90], marker=look.marker, markersize=6, markerfacecolor=face, gid="d90")


def forest(rows: Sequence[Row], looks: Mapping[str, Look], runs: str) -> Plot | None:
    """Return d90 of all series that have one, by task, with intervals; None where none has."""
    known = [row for row in rows if row.d90 is not None]
    if not known:
        return None
    panels = [list(panel) for _, panel in groupby(known, key=title)]
    lines = len(known) + 0.6 * len(panels)

    def draw(axis: "Axes") -> None:
        every = [point.d for row in known for point in row.curve]
        ends = [end for row in known for end in (row.d90, *row.interval) if end is not None]
        grid_of_d(axis, min(every + ends), max(every + ends))
        place = 0.0
        for panel in panels:
            place += 0.6
            text: Any = {"transform": axis.get_yaxis_transform(), "va": "center", "clip_on": False}
            axis.text(0, place - 0.2, shown(title(panel[0])), size=9, weight="bold", **text)
            for row in panel:
                axis.text(
                    0, place + 0.3, shown(f"{label(row)}: {estimate_of(row)}"), size=8, **text
                )
                span(axis, row, place + 0.66, looks[label(row)], hollow=False)
                place += 1
                axis.axhline(place, color=LINE, linewidth=0.6, zorder=0)
        axis.set_ylim(lines + 0.1, 0)
        axis.yaxis.set_visible(False)
        axis.spines["left"].set_visible(False)
        axis.grid(axis="x", color=LINE, linewidth=0.6)

    said = "; ".join(f"{title(row)}, {label(row)}: {estimate_of(row)}" for row in known)
    return Plot(
        "d90 of every series", f"{said}.", draw, 0.8 + 0.32 * lines, (0.15, 0.2, 0.3, 0.5), runs
    )


def over(
    name: str,
    axis_name: str,
    series: Mapping[str, Sequence[tuple[int | str, Row]]],
    looks: Sequence[Look],
    runs: str,
) -> Plot:
    """Return d90 with its interval over a number, log scaled, or over names, a look each series."""

    def draw(axis: "Axes") -> None:
        every = [place for known in series.values() for place, _ in known]
        names = list(dict.fromkeys(every)) if isinstance(every[0], str) else []
        rows = [row for known in series.values() for _, row in known]
        ends = [end for row in rows for end in (row.d90, *row.interval) if end]
        if names:
            axis.set_xlim(-0.5, len(names) - 0.5)
            texts = [shown(str(one))[:20] for one in names]
            axis.set_xticks(range(len(names)), texts, rotation=30, ha="right", size=8)
        else:
            axis.set_xscale("log")
            axis.set_xlabel(f"{axis_name} (log scale)")
        axis.set_yscale("log")
        axis.set_ylim(min(ends) / 1.4, max(ends) * 1.4)
        plain(axis.yaxis)
        for (who, known), look in zip(series.items(), looks, strict=False):
            places = [names.index(place) if names else max(1, int(place)) for place, _ in known]
            drawn = [row.d90 or 1 for _, row in known]
            if not names:
                axis.plot(places, drawn, color=look.colour, linewidth=1, label=shown(who))
            for place, (_, row) in zip(places, known, strict=True):
                span(axis, row, place, look, upright=True, hollow=False)
        axis.set_ylabel("d90 (log scale)" if not names else f"d90 by {axis_name} (log scale)")
        if len(series) > 1:
            axis.legend(fontsize=8)

    said = [f"{who} {at}: {estimate_of(row)}" for who, one in series.items() for at, row in one]
    return Plot(name, f"{name}: {'; '.join(said)}.", draw, 3.4, (0.75, 0.2, 0.35, 0.85), runs)
