"""E|P theta|^2 = |theta|^2, whatever D and d: the mean of 100 draws lies within 2 %."""

import pytest
import torch

from said_lightning.projections import build, engines_of, names

DRAWS = 100
CELLS = [(D, d) for D in (10**3, 10**5, 10**7) for d in (10, 10**3, 10**4) if d <= D]


def cells() -> list[object]:
    """All cells; those that take minutes, for want of an engine, are marked slow."""
    return [
        pytest.param(name, D, d, marks=[pytest.mark.slow] if slow else [])
        for name in names()
        for D, d in CELLS
        if name != "dense" or D * d <= 10**8
        for slow in [D == 10**7 and engines_of(name) == ["torch"]]
    ]


@pytest.mark.parametrize(("name", "D", "d"), cells())
def test_lengths_are_kept_in_expectation(name: str, D: int, d: int) -> None:
    theta = torch.randn(d, generator=torch.Generator().manual_seed(0))
    ratios = []
    for seed in range(DRAWS):
        projection = build(name, {"weight": D}, d, seed)
        square = projection.project(theta, "weight").square().sum(dtype=torch.float64)
        ratios.append(square / projection.gain / theta.square().sum(dtype=torch.float64))
    assert 0.98 < torch.stack(ratios).mean() < 1.02
