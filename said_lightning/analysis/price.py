"""The runs that an interval's width costs."""

from typing import NamedTuple

import numpy as np

from said_lightning.analysis.d90 import Estimate


class Price(NamedTuple):
    """Runs to add for a width, None where no number of runs reaches it; `sentence` says it."""

    runs: int | None
    width: float
    sentence: str


def price(estimate: Estimate, width: float) -> Price:
    """Return the runs that an interval of this width (high / low) costs beyond those made."""
    raise NotImplementedError
