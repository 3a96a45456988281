"""An optimizer that accelerate has prepared trains a subspace, and steps skipped in fp16 are none.

tests/training/test_loops.py holds its loop to autograd's theta.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from said_lightning import Subspace
from said_lightning.errors import UserError

accelerate = pytest.importorskip("accelerate")
d, INFINITY = 12, float("inf")


@pytest.fixture(autouse=True)
def accelerator() -> Iterator[Any]:
    """Return an Accelerator, which leaves nothing to the next test."""
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield accelerate.Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def make() -> tuple[nn.Module, Subspace]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3))
    return model, Subspace(model, d, projection="dense")


def step(model: nn.Module, optimizer: Any, accelerator: Any, factor: float = 1.0) -> None:
    accelerator.backward(factor * model(torch.ones(2, 8)).square().mean())
    optimizer.step()


def test_the_weights_follow_theta_and_gradients_are_cleared(accelerator: Any) -> None:
    model, space = make()
    start = model.get_parameter("0.weight").detach().flatten().clone()
    optimizer = torch.optim.Adam(space.trainable_parameters(), lr=0.1)
    model, optimizer = accelerator.prepare(model, optimizer)
    with space.training(optimizer):
        step(model, optimizer, accelerator)
        delta = space.lambdas[0] * space.projection.project(space.theta.detach(), "0.weight")
        assert torch.equal(model.get_parameter("0.weight").flatten(), start + delta)
        assert space.theta.grad is None
    with pytest.raises(RuntimeError, match=r"outside of space\.training"):
        step(model, optimizer, accelerator)


def test_an_optimizer_over_the_models_weights_is_refused(accelerator: Any) -> None:
    model, space = make()
    optimizer = accelerator.prepare(torch.optim.Adam(model.parameters()))
    with pytest.raises(UserError, match="holds weights that the subspace moves"):
        space.training(optimizer).__enter__()


def test_lbfgs_is_refused_though_it_is_prepared(accelerator: Any) -> None:
    _, space = make()
    optimizer = accelerator.prepare(torch.optim.LBFGS(space.trainable_parameters()))
    with pytest.raises(UserError, match="LBFGS moves theta several times in a step"):
        space.training(optimizer).__enter__()


@pytest.mark.parametrize("kind", ["MULTI_CPU", "MULTI_GPU", "FSDP", "DEEPSPEED"])
def test_several_processes_are_refused_in_a_line(kind: str, accelerator: Any) -> None:
    _, space = make()
    optimizer = accelerator.prepare(torch.optim.Adam(space.trainable_parameters()))
    optimizer.accelerator_state.distributed_type = accelerate.DistributedType(kind)
    with pytest.raises(UserError, match=rf"{kind}\): expected one process and one device"):
        space.training(optimizer).__enter__()


def test_a_step_that_a_scaler_skips_leaves_theta_and_the_weights(accelerator: Any) -> None:
    model, space = make()
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer = torch.optim.Adam(space.trainable_parameters(), lr=0.1)
    model, optimizer = accelerator.prepare(model, optimizer)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with space.training(optimizer):
        step(model, optimizer, accelerator, factor=INFINITY)
        assert optimizer.step_was_skipped
        assert not space.theta.any()
        optimizer.zero_grad()
        step(model, optimizer, accelerator)
        assert not optimizer.step_was_skipped
        assert space.theta.all()
    assert not any(torch.equal(before[name], now) for name, now in model.state_dict().items())
