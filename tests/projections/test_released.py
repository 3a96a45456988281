"""The circulating code's map and gradient, against both written out as matrices and autograd."""

from typing import Any

import pytest
import torch
from jaxtyping import Float
from scipy.linalg import hadamard
from torch import Tensor

from said_lightning.projections import dot_test
from said_lightning.projections.core import random
from said_lightning.projections.released import Released

SIZES = {"weight": 300, "bias": 24, "few": 2, "one": 1}
PADDED = {"weight": 512, "bias": 32, "few": 2, "one": 1}


def sylvester(n: int) -> Float[Tensor, "n n"]:
    return torch.from_numpy(hadamard(n)).double()


class CirculatingHadamard(torch.autograd.Function):
    """H on the way forward, H / sqrt(n) on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return sylvester(len(x)) @ x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (grad,) = grads
        result: Tensor = sylvester(len(grad)) @ grad / len(grad) ** 0.5
        return result


def circulating(theta: Float[Tensor, " d"], projection: Released, tensor: str) -> Tensor:
    """Return the rows of a tensor by that code's formula, on this projection's draws."""
    n, rows, key = PADDED[tensor], SIZES[tensor], projection.keys[tensor]
    halves = random.half_words(key, 0, n)
    signs, normals = random.signs(halves, theta.dtype), random.normals(halves, theta.dtype)
    order = random.permutations(key, 1, n)[0]
    padded = torch.nn.functional.pad(theta, (0, n - len(theta)))
    mixed = CirculatingHadamard.apply(padded * signs)[order] * normals
    divisor = (n * normals.square().sum()).sqrt() * (rows / n) ** 0.5
    result: Tensor = CirculatingHadamard.apply(mixed)[:rows] / divisor
    return result


def vector(length: int, seed: int = 0) -> Float[Tensor, " length"]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(length, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("gradient", ["exact", "released"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_pull_back_is_the_transpose_of_project(
    gradient: str, dtype: torch.dtype, bound: float
) -> None:
    for seed in range(10):
        for d in (1, 20, 400):
            assert dot_test(Released(SIZES, d, seed, gradient), dtype, seed) < bound


@pytest.mark.parametrize("d", [20, 100])
@pytest.mark.parametrize("tensor", SIZES)
def test_rows_are_those_of_the_circulating_code(tensor: str, d: int) -> None:
    projection, theta = Released(SIZES, d, 0), vector(d)
    torch.testing.assert_close(
        projection.project(theta, tensor), circulating(theta, projection, tensor)
    )


@pytest.mark.parametrize("d", [20, 100])
@pytest.mark.parametrize("tensor", SIZES)
def test_gradients_are_those_of_the_circulating_code(tensor: str, d: int) -> None:
    projection, grad = Released(SIZES, d, 0, "released"), vector(SIZES[tensor], 1)
    theta = vector(d).requires_grad_()
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    (grad @ (scale * circulating(theta, projection, tensor))).backward()
    v = projection.pull_back(grad, tensor)
    torch.testing.assert_close(v * projection.gradient_weight(tensor), theta.grad)
    torch.testing.assert_close(v @ theta.detach(), scale.grad)


def test_the_released_gradient_is_the_exact_one_over_each_padded_length() -> None:
    exact, released = Released(SIZES, 20, 0), Released(SIZES, 20, 0, "released")
    for tensor, length in PADDED.items():
        assert exact.gradient_weight(tensor) == 1
        assert released.gradient_weight(tensor) == 1 / length


def test_coordinates_past_a_padded_length_are_dropped() -> None:
    projection = Released(SIZES, 100, 0)
    rest = vector(100) * (torch.arange(100) >= 32)
    assert not projection.project(rest, "bias").any()
    assert not projection.pull_back(vector(24), "bias")[32:].any()
    assert projection.project(rest, "weight").any()


@pytest.mark.parametrize(("d", "gain"), [(1, 2), (100, 2), (1000, 1.512)])
def test_each_tensor_moves_as_far_as_theta_does_in_it(d: int, gain: float) -> None:
    ratios = []
    for seed in range(200):
        projection, theta = Released({"weight": 3000, "bias": 384}, d, seed), vector(d, seed)
        moved = sum(projection.project(theta, name).square().sum() for name in projection.sizes)
        ratios.append(moved / theta.square().sum())
        assert projection.gain == pytest.approx(gain)
    assert 0.98 < torch.tensor(ratios).mean() / gain < 1.02


def test_other_tensors_change_nothing() -> None:
    theta = vector(20)
    alone = Released({"weight": 300}, 20, 0).project(theta, "weight")
    assert torch.equal(alone, Released(SIZES, 20, 0).project(theta, "weight"))


def test_an_unknown_gradient_is_named() -> None:
    with pytest.raises(ValueError, match="gradient='right': expected one of exact, released"):
        Released(SIZES, 20, 0, "right")
