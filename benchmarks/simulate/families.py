"""Curves from 0 to 1 over log10 d, by family: those that tuned the estimator, and the others.

Whatever the estimator has that was chosen by its coverage was chosen on TUNED alone. Coverage is
reported on HELD_OUT, which no choice was made on.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

Shape = Callable[[float], float]
Family = Callable[[Generator], Shape]


def logistic(rng: Generator) -> Shape:
    """Draw a logistic curve."""
    width = rng.uniform(0.2, 0.6)
    return lambda u: 1 / (1 + math.exp(-u / width))


def two_stages(rng: Generator) -> Shape:
    """Draw the sum of two logistic curves, a slope with a slower part in between."""
    first, second = rng.uniform(0.1, 0.4, 2)
    part, gap = rng.uniform(0.2, 0.8), rng.uniform(0.3, 1.5)
    return lambda u: (
        part / (1 + math.exp(-(u + gap) / first)) + (1 - part) / (1 + math.exp(-(u - gap) / second))
    )


def gompertz(rng: Generator) -> Shape:
    """Draw a curve that leaves chance fast and nears its ceiling slowly."""
    width = rng.uniform(0.2, 0.6)
    return lambda u: math.exp(-math.exp(-u / width))


def hill(rng: Generator) -> Shape:
    """Draw a power of d over itself and a constant."""
    power = rng.uniform(0.7, 2.0)
    return lambda u: 1 / (1 + 10 ** (-power * u))


def kinked(rng: Generator) -> Shape:
    """Draw straight pieces between points at random."""
    scale = rng.uniform(0.33, 1.0)
    x = np.array([-3, *np.sort(rng.uniform(-1.5, 1.5, 4)), 3]) * scale
    y = np.array([0, *np.sort(rng.uniform(0, 1, 4)), 1])
    return lambda u: float(np.interp(u, x, y))


def stepped(rng: Generator) -> Shape:
    """Draw sudden rises, two to five of them, with little slope in between."""
    count = int(rng.integers(2, 6))
    places = rng.uniform(-1.2, 1.2, count)
    sizes = rng.dirichlet(np.full(count, 2.0)) * 0.8
    slope = rng.uniform(0.3, 0.6)

    def shape(u: float) -> float:
        jumps = sum(
            size / (1 + math.exp(min(-(u - place) / 0.01, 50.0)))
            for place, size in zip(places, sizes, strict=True)
        )
        return float(jumps + 0.2 / (1 + math.exp(-u / slope)))

    return shape


def saturating(rng: Generator) -> Shape:
    """Draw a steep start that bends into a long approach to the ceiling."""
    width = rng.uniform(0.3, 0.9)
    return lambda u: 1 - math.exp(-math.log(2) * 10 ** (u / (3 * width)))


TUNED = {"logistic": logistic, "two stages": two_stages, "gompertz": gompertz}
HELD_OUT = {"kinked": kinked, "stepped": stepped, "hill": hill, "saturating": saturating}


def where(shape: Shape, part: float) -> float:
    """Return the place at which a curve reaches a part of its rise."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if shape(middle) < part else (low, middle)
    return high
