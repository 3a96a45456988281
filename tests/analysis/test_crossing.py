"""Where a curve crosses a level between two points."""

from itertools import pairwise

import numpy as np
import pytest

from said_lightning.analysis.crossing import BEND, STEPS, crossing

DRAWS = 40_000


@pytest.mark.parametrize("gap", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.95])
def test_between_two_points_the_curve_rises_as_a_dirichlet_process_bent_by_a_power(
    gap: float, part: float
) -> None:
    rng = np.random.default_rng(0)
    x, y = np.array([2.0, 2.0 + gap]), np.tile([0.0, 1.0], (DRAWS, 1))
    at = (crossing(x, y, np.ones(2), np.full(DRAWS, part), rng) - 2.0) / gap
    # The other way round: how far curves have risen at a share of the gap.
    for share in (0.1, 0.5, 0.8):
        inner = share ** np.exp2(-BEND * rng.standard_normal(DRAWS))
        inner = np.clip(inner, 1e-9, 1 - 1e-9)
        many = np.exp(rng.uniform(np.log(STEPS[0]), np.log(STEPS[1]), DRAWS)) * gap / np.log(10)
        risen = rng.beta(many * inner, many * (1 - inner))
        assert (at <= share).mean() == pytest.approx((risen >= part).mean(), abs=0.015)


def test_curves_cross_between_the_same_two_points_with_and_without_bends() -> None:
    rng = np.random.default_rng(1)
    x, weight = np.log([10.0, 30.0, 100.0, 100.0, 1000.0]), np.array([3.0, 1.0, 5.0, 2.0, 3.0])
    y, level = rng.random((DRAWS, 5)), rng.random(DRAWS)
    straight, bent = (crossing(x, y, weight, level, bends) for bends in (None, rng))
    inside = np.isfinite(straight)
    assert np.array_equal(straight[~inside], bent[~inside])
    for low, high in pairwise(x):
        here = inside & (straight > low) & (straight < high)
        assert ((bent[here] >= low) & (bent[here] <= high)).all()
