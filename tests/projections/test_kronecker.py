"""The matrix projection: P as its formula says, an isometry, each factor drawn by its name."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections import build, dot_test
from said_lightning.projections.core import factors
from said_lightning.projections.core.factors import sides
from said_lightning.projections.kronecker import Kronecker

SHAPES = {
    "embedding.weight": (90, 16),
    "layer.weight": (24, 16),
    "layer.bias": (24,),
    "turned.weight": (16, 30),
    "turned.bias": (30,),
    "conv.weight": (8, 3, 3, 3),
    "norm.weight": (24,),
    "thin.weight": (2, 16),
}
CPU, WIDE = torch.device("cpu"), torch.float64


def kronecker(d: int = 100, seed: int = 0, **options: Any) -> Kronecker:
    return Kronecker(SHAPES, d, seed, **options)


def matrix(projection: Kronecker, tensor: str) -> Float[Tensor, "rows d"]:
    """Return a tensor's rows of P, a column for each unit vector."""
    units = torch.eye(projection.d, dtype=WIDE)
    return torch.stack([projection.project(unit, tensor) for unit in units], dim=1)


def normals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=WIDE, generator=torch.Generator().manual_seed(seed))


@given(st.lists(st.integers(1, 200), min_size=2, max_size=4), st.integers(1, 5000))
def test_theta_has_room_between_factors_no_wider_than_the_weight(shape: list[int], d: int) -> None:
    one = sides(shape, d)
    assert (one is None) == (torch.Size(shape).numel() < d)
    if one is None:
        return
    assert one.rows * one.columns == torch.Size(shape).numel()
    assert (one.a <= one.rows, one.b <= one.columns) == (True, True)
    assert d <= one.a * one.b < d + max(one.a, one.b)


@pytest.mark.parametrize("d", [1, 7, 100])
@pytest.mark.parametrize("options", [{}, {"keep": False}], ids=str)
def test_pull_back_is_the_transpose_of_project(d: int, options: dict[str, Any]) -> None:
    for seed in range(5):
        assert dot_test(kronecker(d, seed, **options), WIDE, seed) < 1e-12


@pytest.mark.parametrize("tensor", ["layer.weight", "turned.weight", "conv.weight", "layer.bias"])
def test_rows_are_those_of_the_kronecker_product_of_the_factors(tensor: str) -> None:
    projection = kronecker()
    one = projection.matrices[tensor]
    left, right = projection.factors(tensor, CPU, WIDE)
    product = torch.kron(left[:, : one.a].contiguous(), right[:, : one.b].contiguous())
    expected = product[:, : projection.d] * (projection.sizes[tensor] / projection.D) ** 0.5
    torch.testing.assert_close(matrix(projection, tensor), expected, rtol=1e-12, atol=1e-12)


def test_a_matrix_is_an_isometry_but_for_its_share_of_all_weights() -> None:
    projection = kronecker()
    for tensor in ("layer.weight", "turned.weight", "conv.weight", "embedding.weight"):
        P = matrix(projection, tensor)
        expected = torch.eye(100, dtype=WIDE) * projection.sizes[tensor] / projection.D
        torch.testing.assert_close(P.T @ P, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("d", [10, 100])
def test_lengths_are_kept_in_expectation_with_long_factors_and_biases(
    monkeypatch: pytest.MonkeyPatch, d: int
) -> None:
    monkeypatch.setattr(factors, "LONG", 64)
    theta = normals(d)
    squares = [
        sum(P.project(theta, name).square().sum() for name in SHAPES)
        for P in (kronecker(d, seed) for seed in range(200))
    ]
    assert 0.97 < torch.stack(squares).mean() / theta.square().sum() < 1.03  # type: ignore[arg-type]


def test_a_bias_is_a_column_more_of_its_weight() -> None:
    projection = kronecker()
    assert projection.owners == {"layer.bias": "layer.weight", "turned.bias": "turned.weight"}
    for bias, side in (("layer.bias", 0), ("turned.bias", 1)):
        own, of = (projection.factors(name, CPU, WIDE) for name in (bias, projection.owners[bias]))
        assert own[side] is of[side]
        assert own[1 - side].shape[0] == 1


def test_a_tensor_without_room_for_theta_takes_numbers_of_it() -> None:
    P = matrix(kronecker(), "thin.weight")
    assert (P != 0).sum(1).tolist() == [1] * 32
    assert P.abs().sum(1).unique().numel() == 1


@pytest.mark.parametrize("keep", [True, False])
def test_rows_of_a_long_factor_are_drawn_each_for_itself(
    monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    for module in (factors, __import__("said_lightning.projections.kronecker", fromlist=["_"])):
        monkeypatch.setattr(module, "LONG", 64)
    projection = kronecker(keep=keep)
    ids = torch.tensor([3, 89, 0, 3, 41])
    every, _ = projection.factors("embedding.weight", CPU, WIDE)
    assert torch.equal(projection.rows("embedding.weight", ids, WIDE), every[ids])
    others = Kronecker(SHAPES | {"embedding.weight": (70, 16)}, 100, 0)
    shorter, _ = others.factors("embedding.weight", CPU, WIDE)
    torch.testing.assert_close(shorter * 70**0.5, every[:70] * 90**0.5)


def test_factors_that_are_not_kept_are_the_same() -> None:
    theta = normals(100)
    for tensor in SHAPES:
        one, other = (kronecker(keep=keep).project(theta, tensor) for keep in (True, False))
        assert torch.equal(one, other)
    assert not kronecker(keep=False)._kept


def test_another_tensor_changes_only_the_common_factor() -> None:
    theta, alone = normals(100), Kronecker({"layer.weight": (24, 16)}, 100, 0)
    both = kronecker()
    torch.testing.assert_close(
        both.project(theta, "layer.weight") * both.D**0.5,
        alone.project(theta, "layer.weight") * alone.D**0.5,
    )


def test_the_fingerprint_knows_shapes_and_the_basis() -> None:
    turned = SHAPES | {"layer.weight": (16, 24)}
    found = {
        kronecker().fingerprint(),
        kronecker(basis="svd").fingerprint(),
        Kronecker(turned, 100, 0).fingerprint(),
    }
    assert len(found) == 3


def test_many_tensors_together_are_each_as_alone() -> None:
    projection = kronecker()
    thetas, sums = normals(2, 100), torch.zeros(2, 100, dtype=WIDE)
    groups = {tensor: index % 2 for index, tensor in enumerate(SHAPES)}
    bases = {tensor: normals(projection.sizes[tensor], seed=4) for tensor in SHAPES}
    outs = {tensor: torch.empty_like(base) for tensor, base in bases.items()}
    projection.write_all(outs, bases, thetas, groups)
    projection.pull_back_all(bases, groups, sums)
    expected = torch.zeros_like(sums)
    for tensor, group in groups.items():
        one = bases[tensor] + projection.project(thetas[group], tensor)
        torch.testing.assert_close(outs[tensor], one, rtol=1e-12, atol=1e-12)
        expected[group] += projection.pull_back(bases[tensor], tensor)
    torch.testing.assert_close(sums, expected, rtol=1e-12, atol=1e-12)


def test_singular_vectors_are_the_weights_own_first_ones() -> None:
    projection = kronecker(basis="svd")
    weights = {tensor: normals(*shape, seed=7) for tensor, shape in SHAPES.items()}
    projection.take(weights)
    one = projection.matrices["layer.weight"]
    left, right = projection.factors("layer.weight", CPU, WIDE)
    core = left[:, : one.a].T @ weights["layer.weight"] @ right[:, : one.b]
    values = torch.linalg.svdvals(weights["layer.weight"])
    torch.testing.assert_close(core.diagonal().abs(), values[: min(one.a, one.b)])
    assert dot_test(projection) < 1e-12


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_rounds_nothing(dtype: torch.dtype) -> None:
    projection, theta = build("kronecker", SHAPES, 100, 0), normals(100).float()
    for tensor, size in projection.sizes.items():
        plain = projection.project(theta, tensor), projection.pull_back(torch.ones(size), tensor)
        with torch.autocast("cpu", dtype):
            cast = projection.project(theta, tensor), projection.pull_back(torch.ones(size), tensor)
        assert all(torch.equal(a, b) for a, b in zip(plain, cast, strict=True))
