"""E|P theta|^2 = |theta|^2, whatever D and d: the mean over draws lies within five sigma of it.

How many draws that takes falls with D. With k the kurtosis sum theta^4 / |theta|^4, the variance of
|P theta|^2 / |theta|^2 over seeds is 2 / D for independent normal entries and at most 6 / D for any
projection but sparse: in a block of fastfood, n sum g_i^2 u_i^2 with u = H B theta near normal, it
is 2 sum u_i^4 = 6 / n, and blocks are independent. Of sparse, where a coordinate meets about
sqrt(D) rows, it is k / sqrt(D) more.
"""

import pytest
import torch

from said_lightning.projections import build, names

DRAWS = {10**3: 100, 10**5: 20, 10**7: 4}
# The largest D with one d: dense draws every entry in plain torch, and d is the same code.
CELLS = [(10**3, 10), (10**3, 10**3), (10**5, 10), (10**5, 10**3), (10**5, 10**4), (10**7, 10)]
CASES = [(name, D, d) for name in names() for D, d in CELLS if name != "dense" or D * d <= 10**8]


@pytest.mark.parametrize(("name", "D", "d"), CASES)
def test_lengths_are_kept_in_expectation(name: str, D: int, d: int) -> None:
    theta = torch.randn(d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    length = theta.square().sum()
    ratios = []
    for seed in range(DRAWS[D]):
        projection = build(name, {"weight": D}, d, seed)
        square = projection.project(theta.float(), "weight").square().sum(dtype=torch.float64)
        ratios.append(square / projection.gain / length)
    variance = 6 / D
    if name == "sparse":
        variance += float(theta.pow(4).sum() / length**2) / D**0.5
    assert abs(torch.stack(ratios).mean() - 1) < 5 * (variance / len(ratios)) ** 0.5
