"""Each mistake in the use of a Subspace raises one line that says what was expected."""

import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from said_lightning import Subspace
from said_lightning.errors import UserError
from said_lightning.subspace import subspace as module

d = 12
Adam = torch.optim.Adam


def net() -> nn.Sequential:
    """Return a small net."""
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def loss(model: nn.Module) -> torch.Tensor:
    """Return a loss of random rows."""
    parameter = next(model.parameters())
    found: torch.Tensor = model(torch.randn(2, 6, dtype=parameter.dtype)).square().sum()
    return found


def step_before(model: nn.Module) -> None:
    space = Subspace(model, d)
    optimizer = Adam(space.trainable_parameters())
    loss(model).backward()
    optimizer.step()


def step_after(model: nn.Module) -> None:
    space = Subspace(model, d)
    optimizer = Adam(space.trainable_parameters())
    with space.training(optimizer):
        loss(model).backward()
        optimizer.step()
    loss(model).backward()
    optimizer.step()


def step_after_materialize(model: nn.Module) -> None:
    space = Subspace(model, d)
    optimizer = Adam(space.trainable_parameters())
    with space.training(optimizer):
        space.materialize()
        optimizer.step()


def another_optimizer(model: nn.Module) -> None:
    space = Subspace(model, d)
    with space.training(Adam(space.trainable_parameters())):
        loss(model).backward()
        Adam(space.trainable_parameters()).step()


def another_model(model: nn.Module) -> None:
    space = Subspace(model, d)
    optimizer = Adam(space.trainable_parameters())
    with space.training(optimizer):
        loss(net()).backward()
        optimizer.step()


def nested(model: nn.Module) -> None:
    space = Subspace(model, d)
    optimizer = Adam(space.trainable_parameters())
    with space.training(optimizer), space.training(optimizer):
        pass


def two_subspaces(model: nn.Module) -> None:
    one, other = Subspace(model, d), Subspace(model, d, seed=1)
    with (
        one.training(Adam(one.trainable_parameters())),
        other.training(Adam(other.trainable_parameters())),
    ):
        pass


def after(change: Callable[[Any], object], **options: Any) -> Callable[[nn.Module], None]:
    """Change the model between the making of its subspace and training."""

    def act(model: nn.Module) -> None:
        space = Subspace(model, d, **options)
        change(model)
        with space.training(Adam(space.trainable_parameters())):
            pass

    return act


def replace(model: nn.Sequential) -> None:
    model[2] = nn.Linear(8, 3)


RUNTIME = {
    "step before training": (step_before, "optimizer.step() outside of space.training(optimizer)"),
    "step after training": (step_after, "optimizer.step() outside of space.training(optimizer)"),
    "step after materialize": (step_after_materialize, "outside of space.training(optimizer)"),
    "another optimizer": (another_optimizer, "of another optimizer than the one given to"),
    "another model": (another_model, "before a gradient reached the model's weights"),
    "nested": (nested, "in training through a subspace already"),
    "two subspaces": (two_subspaces, "in training through a subspace already"),
    "layer replaced": (after(replace), "2.weight and 1 more: replaced since the Subspace was made"),
    "weights loaded": (
        after(lambda model: model.load_state_dict(net().state_dict())),
        "0.weight and 3 more: changed since the Subspace was made",
    ),
    "layer frozen": (
        after(lambda model: model[0].requires_grad_(False)),
        "0.weight and 1 more: frozen since the Subspace was made",
    ),
    "16 bits": (
        after(lambda model: model.bfloat16(), origin="none"),
        "origin='none': expected origin='copy' for torch.bfloat16 weights",
    ),
}


@pytest.mark.parametrize("case", RUNTIME)
def test_a_mistake_in_the_loop_raises_one_line(case: str) -> None:
    act, expected = RUNTIME[case]
    with pytest.raises(RuntimeError) as caught:
        act(net())
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", ["nested", "two subspaces", "another model"])
def test_a_mistake_leaves_an_ordinary_model(case: str) -> None:
    model = net()
    with pytest.raises(RuntimeError):
        RUNTIME[case][0](model)
    loss(model).backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_a_model_that_moves_or_holds_its_weights_anew_is_no_mistake() -> None:
    space = Subspace(model := net(), d)
    model.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
    with space.training(Adam(space.trainable_parameters())):
        pass


OPTIMIZERS: dict[str, tuple[Callable[[nn.Module, Subspace], torch.optim.Optimizer], str]] = {
    "of the weights": (lambda m, s: Adam(m.parameters()), "holds weights that the subspace moves"),
    "of both": (
        lambda m, s: Adam([*s.trainable_parameters(), *m.parameters()]),
        "holds weights that the subspace moves",
    ),
    "of theta alone": (lambda m, s: Adam([s.theta]), "does not hold the subspace's numbers"),
    "of something else": (
        lambda m, s: Adam(net().parameters()),
        "does not hold the subspace's numbers: make it of space.trainable_parameters()",
    ),
    "with several updates": (
        lambda m, s: torch.optim.LBFGS(s.trainable_parameters()),
        "LBFGS moves theta several times in a step",
    ),
}


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_an_optimizer_that_cannot_train_the_numbers_is_refused(case: str) -> None:
    make, expected = OPTIMIZERS[case]
    space = Subspace(model := net(), d)
    with pytest.raises(UserError) as caught, space.training(make(model, space)):
        pass
    (message,) = caught.value.messages
    assert expected in message


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return net()


class Picture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)


MODELS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], str]] = {
    "frozen": (lambda: net().requires_grad_(False), {}, "the model has no trainable weights"),
    "meta": (on_meta, {}, "the model is on the meta device: expected allocated and loaded weights"),
    "bfloat16": (
        lambda: net().bfloat16(),
        {"origin": "none"},
        "origin='none': expected origin='copy' for torch.bfloat16 weights",
    ),
    "float16": (
        lambda: net().half(),
        {"origin": "none"},
        "origin='none': expected origin='copy' for torch.float16 weights",
    ),
    "memory format": (
        lambda: Picture().to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        {},
        "the model has weights in another memory format: expected contiguous ones",
    ),
    "no head": (net, {"head": "outside"}, "expected a model with a head beside its encoder"),
    "d too large": (net, {"d": 1000}, "the model has only D=83 trainable weights"),
    "d too small": (net, {"d": 2}, "d=2: expected at least 3"),
    "unknown keyword": (
        net,
        {"metod": "did"},
        "metod='did': neither an option of Subspace nor of projection='fastfood'",
    ),
    "unknown projection": (net, {"projection": "fastfod"}, "projection='fastfod': expected one of"),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_model_or_option_that_does_not_suit_is_refused(case: str) -> None:
    make, options, expected = MODELS[case]
    with pytest.raises(UserError) as caught:
        Subspace(make(), **{"d": d, **options})
    (message,) = caught.value.messages
    assert expected in message
    assert "\n" not in message


@pytest.fixture(scope="module")
def unchecked() -> ModuleType:
    """Return the module as users have it, whose annotations nobody checks."""
    spec = importlib.util.spec_from_file_location("unchecked", module.__file__)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_unknown_choices_are_named_with_the_valid_ones_all_at_once(unchecked: ModuleType) -> None:
    with pytest.raises(UserError) as caught:
        unchecked.Subspace(net(), d, method="sad", groups="layers", head="in", origin="copied")
    assert sorted(caught.value.messages) == [
        "groups='layers': expected one of 'layer', 'tensor'",
        "head='in': expected one of 'inside', 'outside'",
        "method='sad': expected one of 'said', 'did'",
        "origin='copied': expected one of 'copy', 'none'",
    ]


def test_options_are_keywords_alone() -> None:
    with pytest.raises(TypeError):
        Subspace(net(), d, "said")  # type: ignore[call-arg]


def test_the_state_of_another_subspace_is_refused() -> None:
    with pytest.raises(UserError, match="the state of another subspace: expected"):
        Subspace(net(), d).load_state_dict(Subspace(net(), d + 1).state_dict())
