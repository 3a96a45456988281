"""What an interval's width comes from: scatter, report rows, and how steep the curve is."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from said_lightning.analysis.cells import Cells, at
from said_lightning.analysis.noise import Noise

Shared = Float[ndarray, "2 2"]
Part = Literal["seeds", "rows", "between"]


class Spread(NamedTuple):
    """What an interval's width comes from.

    `run` is the standard deviation of a single run's own, `shared` the covariance of what a seed
    adds at every d and of what it adds to the threshold by full fine-tuning, `rows` the standard
    deviation that report rows give to the distance of curve and threshold. `slope` is the metric's
    rise with log d at the crossing. The runs that were made lie at `x`, log d from the crossing,
    with `seeds` runs each; `span` is where the crossing may lie.
    """

    run: float
    shared: Shared
    rows: float
    slope: float
    freedom: float
    x: Float[ndarray, " points"]
    seeds: Float[ndarray, " points"]
    span: tuple[float, float]


def spread(
    cells: Cells,
    noise: Noise,
    drawn: Float[ndarray, " draws"],
    level: float,
) -> Spread:
    """Return what the interval's width comes from."""
    tail = (1 - level) / 2
    low, middle, high = (
        float(np.clip(end, cells.x[0], cells.x[-1]))
        for end in np.quantile(drawn, [tail, 0.5, 1 - tail], method="nearest")
    )
    near = noise.weights(0)
    contrast = near - cells.share * noise.weights(1)
    toward = np.diag([1.0, cells.share])
    # The slope over as much of the curve as the noise leaves open.
    step = 2 * float(np.sqrt(noise.variance(contrast)))
    reach = [
        np.clip(at(cells, cells.threshold + by), cells.x[0], cells.x[-1]) for by in (-step, step)
    ]
    heights = np.interp(reach, cells.x, np.maximum.accumulate(cells.means))
    slope = float(np.diff(heights)[0] / max(np.diff(reach)[0], 1e-3))
    return Spread(
        run=float(np.sqrt(noise.own[0])),
        shared=toward @ noise.shared @ toward,
        rows=float(np.sqrt(max(contrast @ noise.row_covariance @ contrast, 0.0))),
        slope=slope,
        freedom=noise.freedom,
        x=cells.x - middle,
        seeds=cells.runs,
        span=(low - middle, high - middle),
    )


def sources_of_width(parts: Mapping[Part, float]) -> str:
    """Return what the width would be from each source of noise alone: `x1.32 by seeds alone`."""
    names = {"between": "the gaps between d"}
    return ", ".join(
        f"x{wide:.2f} by {names.get(part, part)} alone" for part, wide in parts.items()
    )
