"""The learning-rate rule holds a step's length."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from said_lightning.subspace.lr_rule import LAMBDA_LR, STEP_RATIO, learning_rate
from said_lightning.subspace.optimizers import faster
from said_lightning.subspace.subspace import Subspace

rates = st.floats(1e-7, 1.0)
ratios = st.floats(1e-2, 1e3)


@given(D=st.integers(1, 10**10), share=st.floats(0, 1), full_lr=rates, step_ratio=ratios)
def test_a_step_is_step_ratio_times_as_long_as_full_fine_tunings(
    D: int, share: float, full_lr: float, step_ratio: float
) -> None:
    d = max(1, round(share * D))
    lr = learning_rate(d, D, full_lr, step_ratio)
    assert lr * math.sqrt(d) == pytest.approx(step_ratio * full_lr * math.sqrt(D), rel=1e-12)


def test_all_weights_at_ratio_1_get_the_full_rate() -> None:
    assert learning_rate(10**6, 10**6, 5e-5, 1.0) == 5e-5


def test_lambda_has_the_same_rate_at_every_d_and_theta_has_the_methods_ratio() -> None:
    for d in (20, 40):
        space = Subspace(torch.nn.Linear(20, 10), d)
        theta, lambdas = space.parameter_groups(full_lr=1e-3)
        assert lambdas["lr"] == LAMBDA_LR
        assert theta["lr"] == pytest.approx(STEP_RATIO * 1e-3 * math.sqrt(210 / d))
    (theta,) = Subspace(torch.nn.Linear(20, 10), 20, method="did").parameter_groups(full_lr=1e-3)
    assert theta["lr"] == pytest.approx(STEP_RATIO * 1e-3 * math.sqrt(210 / 20))


def test_lambda_has_its_own_rate_in_an_optimizer_made_for_full_training() -> None:
    theta, lambdas = torch.zeros(3, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = torch.optim.SGD([theta, lambdas], lr=0.5)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, total_iters=2)
    moved = []
    with faster(optimizer, [theta, lambdas], factor=4.0, lambda_lr=0.1):
        for _ in range(2):
            before = lambdas.detach().clone()
            for tensor in (theta, lambdas):
                tensor.grad = torch.ones_like(tensor)
            optimizer.step()
            schedule.step()
            moved.append(float((before - lambdas).detach()[0]))
    assert moved == pytest.approx([0.05, 0.075])
    assert float(theta.detach()[0]) == pytest.approx(-4 * (0.25 + 0.375))
    (group,) = optimizer.param_groups
    assert [len(tensor) for tensor in group["params"]] == [3, 2]
    assert group["lr"] == pytest.approx(0.5)
