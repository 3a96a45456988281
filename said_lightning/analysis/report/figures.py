"""The figures of a report, as plain data for plotly.js."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from said_lightning.analysis.d90 import SHARE
from said_lightning.analysis.estimator import Row
from said_lightning.analysis.reading import Reading
from said_lightning.analysis.table import label, title

# Okabe and Ito's palette, distinct for every kind of colour vision. With one symbol more than
# there are colours, 42 series look different.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")
_INK, _FAINT = "#333", "#8a8a8a"
_LINES = 8
_PERCENT = f"{SHARE * 100:g} %"

Figure = dict[str, Any]


def curves(rows: list[Row]) -> Figure | None:
    """Return the metric over d for one model and task; None where no run has a metric."""
    drawn = [row for row in rows if row.curve]
    if not drawn:
        return None
    one = drawn[0]
    ends = [point.d for row in drawn for point in row.curve]
    low, high = min(ends) / 1.15, max(ends) * 1.15
    data = [trace for index, row in enumerate(drawn) for trace in _series(row, index)]
    data += _levels(one, low, high)
    metric = one.metric or "metric"
    return {
        "data": data,
        "layout": layout(title(one), "d, trained numbers (log scale)", f"{metric}, evaluation")
        | {"xaxis": d_axis([math.log10(low), math.log10(high)])},
    }


def _series(row: Row, index: int) -> list[Figure]:
    colour, symbol = COLOURS[index % len(COLOURS)], SYMBOLS[index % len(SYMBOLS)]
    who = label(row)
    d = [point.d for point in row.curve]
    traces: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": who,
            "legendgroup": who,
            "x": d,
            "y": [point.mean for point in row.curve],
            "customdata": [[point.lr, len(point.values)] for point in row.curve],
            "hovertemplate": "d = %{x:,}<br>mean %{y:.4f}<br>lr %{customdata[0]:.3g}"
            "<br>seeds %{customdata[1]}",
            "line": {"color": colour},
            "marker": {"color": colour, "symbol": symbol, "size": 8},
        }
    ]
    seeds = [(point.d, value) for point in row.curve for value in point.values]
    if len(seeds) > len(d):
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{who}, seeds",
                "legendgroup": who,
                "showlegend": False,
                "x": [x for x, _ in seeds],
                "y": [y for _, y in seeds],
                "hovertemplate": "d = %{x:,}<br>%{y:.4f}",
                "marker": {"color": colour, "size": 4, "opacity": 0.5},
            }
        )
    readings = ((row, "d90"), (row.corrected, "d90 corrected for chance"))
    return traces + [bar for reading, what in readings for bar in _bar(reading, what, who, colour)]


def _bar(reading: Reading, what: str, who: str, colour: str) -> list[Figure]:
    """Return the fitted d90 on its threshold, with its interval as a bar where there is one."""
    if reading.d90 is None or reading.threshold is None:
        return []
    arms = {}
    if reading.level is not None:
        low, high = (end or reading.d90 for end in reading.interval)
        arms = {
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [high - reading.d90],
                "arrayminus": [reading.d90 - low],
                "color": colour,
                "thickness": 2.5,
                "width": 6,
            }
        }
    held = f"{reading.level * 100:g} % interval" if reading.level else "one seed: no interval"
    ends = " to ".join("?" if end is None else f"{end:,}" for end in reading.interval)
    span = f"{held}{' ' + ends if reading.level else ''}"
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": f"{who}: {what}",
            "legendgroup": who,
            "showlegend": False,
            "x": [reading.d90],
            "y": [reading.threshold],
            "hovertemplate": f"{what} = %{{x:,}}<br>{span}",
            "marker": {
                "color": "white",
                "size": 11,
                "symbol": "diamond",
                "line": {"color": colour, "width": 2.5},
            },
            **arms,
        }
    ]


def _levels(row: Row, low: float, high: float) -> list[Figure]:
    """Return horizontal lines, named in the legend with their values."""
    levels = {
        "full": (row.full, "solid"),
        f"{_PERCENT} of full": (row.threshold, "dash"),
        f"{_PERCENT} of the way from chance": (row.corrected.threshold, "dashdot"),
        "chance": (row.trivial, "dot"),
    }
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"{name} {level:.3f}",
            "x": [low, high],
            "y": [level, level],
            "hovertemplate": f"{name} {level:.4f}<extra></extra>",
            "line": {"color": _FAINT, "width": 1.5, "dash": dash},
        }
        for name, (level, dash) in levels.items()
        if level is not None
    ]


def scales(title: str, by_d: Mapping[int, Mapping[str, float]]) -> Figure:
    """Return the absolute lambda of each layer group, a line for each d, dark at the largest."""
    data = []
    shown = some(list(by_d))
    for index, d in enumerate(shown):
        groups = by_d[d]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"d = {d:,}",
                "x": list(groups),
                "y": list(groups.values()),
                "hovertemplate": "%{x}<br>|lambda| %{y:.3f}",
                "line": {"color": _shade(index, len(shown))},
            }
        )
    return {"data": data, "layout": layout(title, "layer group", "|lambda| (starts at 1)")}


def rates(title: str, row: Row) -> Figure:
    """Return the metric over the learning rate, a line for each d, dark at the largest."""
    several = {point.d for point in row.tried if point not in row.curve}
    every = some(sorted(several))
    data = []
    for index, d in enumerate(every):
        points = [point for point in row.tried if point.d == d]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"d = {d:,}",
                "x": [point.lr for point in points],
                "y": [point.mean for point in points],
                "customdata": [len(point.values) for point in points],
                "hovertemplate": "lr %{x:.3g}<br>mean %{y:.4f}<br>seeds %{customdata}",
                "line": {"color": _shade(index, len(every))},
            }
        )
    laid = layout(title, "learning rate (log scale)", f"{row.metric or 'metric'}, evaluation")
    laid["xaxis"]["type"] = "log"
    laid["showlegend"] = True  # of a single d, too
    return {"data": data, "layout": laid}


def errors(title: str, lines: Mapping[str, Mapping[int, float]]) -> Figure:
    """Return errors over d, a line for each name."""
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": list(points),
            "y": list(points.values()),
            "hovertemplate": "d = %{x:,}<br>%{y:.4f}",
            "line": {"color": colour},
            "marker": {"color": colour, "symbol": symbol, "size": 8},
        }
        for (name, points), colour, symbol in zip(lines.items(), COLOURS, SYMBOLS, strict=False)
    ]
    ends = [d for points in lines.values() for d in points]
    laid = layout(title, "", "error")
    laid["xaxis"] = d_axis([math.log10(min(ends) / 1.15), math.log10(max(ends) * 1.15)])
    return {"data": data, "layout": laid}


def some(every: Sequence[int]) -> list[int]:
    """Return a few of many d, evenly spaced with both ends: as many as a figure can distinguish."""
    places = {round(i * (len(every) - 1) / (_LINES - 1)) for i in range(_LINES)}
    return [every[place] for place in sorted(places)]


def _shade(index: int, of: int) -> str:
    """Return a blue, light at index 0 and dark at the last."""
    part = index / max(of - 1, 1)
    light, dark = (158, 202, 225), (8, 48, 107)
    return "#" + "".join(
        f"{round(a + part * (b - a)):02x}" for a, b in zip(light, dark, strict=True)
    )


def d_axis(span: list[float]) -> Figure:
    """Return an axis of d between two powers of ten, in plain numbers."""
    return {
        "type": "log",
        "range": [round(end, 4) for end in span],
        "title": {"text": "d, trained numbers (log scale)", "standoff": 6},
        "dtick": "D1" if span[1] - span[0] < 1 else "D2" if span[1] - span[0] < 3.5 else 1,
        "tickformat": ",d",
        "gridcolor": "#eee",
    }


def layout(title: str, x: str, y: str) -> Figure:
    """Return the layout of a figure, with its title and the names of its axes."""
    return {
        "title": {"text": title, "x": 0, "xanchor": "left", "font": {"size": 15}},
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": _INK},
        "margin": {"l": 60, "r": 12, "t": 44, "b": 50},
        "height": 460,
        "plot_bgcolor": "white",
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": -0.24, "yanchor": "top", "x": 0},
        "xaxis": {"title": {"text": x, "standoff": 6}, "gridcolor": "#eee"},
        "yaxis": {"title": {"text": y}, "gridcolor": "#eee", "zeroline": False},
    }


def log_layout(title: str, x: str, y: str, axes: Sequence[str]) -> Figure:
    """Return the layout of a figure some of whose axes are logarithmic."""
    made = layout(title, x, y)
    for axis in axes:
        made[axis]["type"] = "log"
    return made
