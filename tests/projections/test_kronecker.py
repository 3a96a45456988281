"""Kronecker blocks: orthogonal factors, the product that the formula says, drawn apart."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections import Projection, build, dot_test
from said_lightning.projections.core import random
from said_lightning.projections.kronecker import Kronecker, orthogonal, rectangle

SIZES = {"two blocks": 70_000, "weight": 2500, "bias": 37, "one": 1}


def matrix(projection: Projection, tensor: str) -> Float[Tensor, "rows d"]:
    """Return a tensor's rows of P, a column for each unit vector."""
    units = torch.eye(projection.d, dtype=torch.float64)
    return torch.stack([projection.project(unit, tensor) for unit in units], dim=1)


def normals(rows: int, columns: int, seed: int) -> Float[Tensor, "rows columns"]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("d", [1, 10, 1000])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_pull_back_is_the_transpose_of_project(d: int, dtype: torch.dtype, bound: float) -> None:
    for seed in range(5):
        assert dot_test(build("kronecker", SIZES, d, seed), dtype, seed) < bound


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 2**31))
def test_factors_are_orthogonal_with_entries_of_mean_square_1(
    rows: int, columns: int, seed: int
) -> None:
    q = orthogonal(normals(rows, columns, seed))
    gram = q.T @ q if rows >= columns else q @ q.T
    expected = torch.eye(min(rows, columns)) * max(rows, columns)
    torch.testing.assert_close(gram, expected.double(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(256, 32), (20, 32), (100, 100), (3, 3)])
def test_another_lapack_gives_the_same_factors_up_to_rounding(rows: int, columns: int) -> None:
    drawn = normals(rows, columns, 0)
    q, r = np.linalg.qr((drawn if rows >= columns else drawn.T).numpy())
    q = q * np.sign(np.diag(r)) * len(q) ** 0.5
    expected = torch.from_numpy(q if rows >= columns else q.T)
    torch.testing.assert_close(orthogonal(drawn), expected, rtol=0, atol=1e-11)


@given(st.integers(1, 10**9))
def test_a_rectangle_holds_its_count_and_little_more(count: int) -> None:
    high, wide = rectangle(count)
    assert high * (wide - 1) < count <= high * wide
    assert wide <= high <= wide + 1


@pytest.mark.parametrize(("rows", "d"), [(60, 12), (7, 12), (1, 1)])
def test_a_block_is_the_kronecker_product_of_its_factors(rows: int, d: int) -> None:
    (r1, r2), (d1, d2) = rectangle(rows), rectangle(d)
    projection = build("kronecker", {"a": rows}, d, 0)
    halves = random.half_words(projection.keys["a"], 0, r1 * d1 + r2 * d2)
    drawn = random.normals(halves, torch.float64)
    left, right = drawn[: r1 * d1].view(r1, d1), drawn[r1 * d1 :].view(r2, d2)
    product = torch.kron(orthogonal(left).contiguous(), orthogonal(right).contiguous())
    product = product[:rows, :d] / rows**0.5
    torch.testing.assert_close(matrix(projection, "a"), product, rtol=1e-12, atol=1e-12)


def test_a_whole_block_is_an_isometry() -> None:
    P = matrix(build("kronecker", {"a": 2500, "b": 7500}, 20, 0), "a")
    expected = torch.eye(20, dtype=torch.float64) * 2500 / 10_000
    torch.testing.assert_close(P.T @ P, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("d", [10, 1000])
@pytest.mark.parametrize("sizes", [{"a": 1000}, {"a": 700, "b": 1, "c": 299}])
def test_lengths_are_kept_in_expectation(sizes: dict[str, int], d: int) -> None:
    theta = normals(d, 1, 0)[:, 0]
    draws = [build("kronecker", sizes, d, seed) for seed in range(100)]
    squares = [sum(P.project(theta, name).square().sum() for name in sizes) for P in draws]
    assert 0.98 < torch.tensor(squares).mean() / theta.square().sum() < 1.02


def test_a_range_of_rows_may_hold_several_blocks() -> None:
    projection = Kronecker({"a": 150_000}, 10, 0)
    theta, grad = normals(10, 1, 0)[:, 0], normals(150_000, 1, 1)[:, 0]
    expected = projection.project(theta, "a"), projection.pull_back(grad, "a")
    torch.testing.assert_close(projection.forward_rows(theta, "a", 0, 150_000), expected[0])
    torch.testing.assert_close(projection.backward_rows(grad, "a", 0), expected[1])


def test_another_tensor_changes_only_the_common_factor() -> None:
    theta = torch.linspace(-1, 1, 20, dtype=torch.float64)
    alone = build("kronecker", {"a": 500}, 20, 0).project(theta, "a")
    beside = build("kronecker", {"b": 300, "a": 500}, 20, 0).project(theta, "a")
    torch.testing.assert_close(beside * 800**0.5, alone * 500**0.5)


def test_no_two_blocks_share_a_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[range] = []
    half_words = random.half_words

    def spy(key: tuple[int, int], first: int, count: int) -> Tensor:
        drawn.append(range(first, first + count))
        return half_words(key, first, count)

    projection = Kronecker({"a": 3 * 2**16 - 1}, 1000, 0)
    monkeypatch.setattr(random, "half_words", spy)
    projection.project(torch.ones(1000), "a")
    assert len(drawn) == 3
    assert all(one.stop <= after.start for one, after in pairwise(drawn))
