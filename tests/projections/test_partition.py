"""The partition is an exact isometry, and its fast engine the same P."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections import Projection, build, dot_test
from said_lightning.projections.partition import Partition

ENGINES = ["torch", None]


def matrix(projection: Projection) -> Float[Tensor, "D d"]:
    """P itself, a column for each unit vector."""
    rows = [
        torch.cat([projection.project(unit, tensor) for tensor in projection.sizes])
        for unit in torch.eye(projection.d, dtype=torch.float64)
    ]
    return torch.stack(rows, dim=1)


@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=3), d=st.integers(1, 16))
def test_columns_are_orthonormal_but_for_empty_slots(sizes: list[int], d: int) -> None:
    P = matrix(build("partition", {str(i): size for i, size in enumerate(sizes)}, d, 0, "torch"))
    used = (P != 0).any(0)
    expected = torch.diag(used * (d / used.sum().double()))
    torch.testing.assert_close(P.T @ P, expected, rtol=1e-12, atol=1e-12)
    assert ((P != 0).sum(1) == 1).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_lengths_are_kept_exactly(engine: str | None) -> None:
    projection = build("partition", {"a": 150_000, "b": 50_000}, 1000, 0, engine)
    theta = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = torch.cat([projection.project(theta, tensor) for tensor in "ab"])
    torch.testing.assert_close(moved.norm(), theta.norm(), rtol=1e-12, atol=0)


def test_lengths_are_kept_in_expectation_where_slots_stay_empty() -> None:
    theta = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    draws = [build("partition", {"a": 1000}, 1000, seed) for seed in range(100)]
    squares = torch.stack([draw.project(theta, "a").square().sum() for draw in draws])
    assert 0.98 < squares.mean() / theta.square().sum() < 1.02


def test_another_tensor_changes_only_the_factors_of_theta() -> None:
    alone = Partition({"a": 500}, 20, 0)
    beside = Partition({"b": 300, "a": 500}, 20, 0)
    theta = torch.arange(1.0, 21, dtype=torch.float64)
    rows = alone.project(theta / alone.factors, "a")
    torch.testing.assert_close(beside.project(theta / beside.factors, "a"), rows)


def test_slots_are_even_and_signs_fair() -> None:
    P = build("partition", {"a": 640_000}, 64, 0)
    entries = P.project(torch.ones(64, dtype=torch.float64), "a")
    counts = 1 / entries.square().unique()  # 1/sqrt(count), up to the sign, in each row
    assert counts.min() > 10_000 - 500
    assert counts.max() < 10_000 + 500
    assert abs(entries.sign().sum()) < 4 * 800


@given(size=st.integers(1, 5000), d=st.integers(1, 3000), seed=st.integers(0, 2**31))
def test_the_engine_is_the_reference(size: int, d: int, seed: int) -> None:
    sizes = {"a": size, "b": 100}
    fast, plain = build("partition", sizes, d, seed), build("partition", sizes, d, seed, "torch")
    generator = torch.Generator().manual_seed(seed)
    grad = torch.randn(size, generator=generator) * (torch.arange(size) > 1100)
    for dtype, bound in ((torch.float32, 1e-6), (torch.float64, 1e-14)):
        theta = torch.randn(d, generator=generator, dtype=dtype)
        torch.testing.assert_close(
            fast.project(theta, "a"), plain.project(theta, "a"), rtol=0, atol=0
        )
        pulled, expected = (P.pull_back(grad.to(dtype), "a") for P in (fast, plain))
        assert (pulled - expected).norm() <= bound * grad.norm()
    assert fast.fingerprint() == plain.fingerprint()


def test_slots_of_long_tensors_are_counted_as_the_reference_counts_them() -> None:
    ours, reference = (Partition({"a": 1_200_000, "b": 10}, 100, 0) for _ in range(2))
    reference.engine = "torch"
    assert torch.equal(ours.counts, reference.counts)
    assert ours.counts.sum() == 1_200_010


def test_a_large_d_works() -> None:
    assert dot_test(build("partition", {"a": 1_200_000, "b": 10}, 1_000_000, 0)) < 1e-12
