"""What ties an optimizer to a subspace, and the mistakes that can be seen there."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from said_lightning.errors import UserError
from said_lightning.subspace.lr_rule import LAMBDA_LR

log = logging.getLogger(__name__)

# What theta is marked with: False where no hook takes the weights' gradients, True where hooks do,
# or the id of the one optimizer after whose steps the weights are written. Hooked weights are
# marked True.
MARK = "_said_hooked"

ONE_DEVICE = (
    "expected one process and one device, since DDP, FSDP and DeepSpeed send the weights' "
    "gradients, of which a subspace leaves none; SubspaceCallback trains on several with Lightning"
)


def marked(tensor: Tensor) -> object:
    """Return a tensor's mark, None where it has none."""
    return getattr(tensor, MARK, None)


def mark(tensor: Tensor, value: bool | int | None) -> None:
    """Mark a tensor; None takes its mark away."""
    if value is not None:
        setattr(tensor, MARK, value)
    elif hasattr(tensor, MARK):
        delattr(tensor, MARK)


def refuse_unhooked(optimizer: Optimizer, *_: object) -> None:
    """Raise RuntimeError before a step that would move theta without its weights."""
    for tensor in numbers_of(optimizer):
        value = marked(tensor)
        if value is False:
            raise RuntimeError(
                "optimizer.step() outside of space.training(optimizer): the model's gradients do "
                "not reach the subspace; put the loop inside `with space.training(optimizer):`"
            )
        if value not in (None, True, id(optimizer)):
            raise RuntimeError(
                "optimizer.step() of another optimizer than the one given to space.training(): "
                "the weights would not be written; give it the optimizer that steps"
            )


# For every optimizer, since one that space.training() never saw is the mistake. It looks for marks.
register_optimizer_step_pre_hook(refuse_unhooked)


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer of torch inside the one that accelerate makes of it."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    return optimizer


def numbers_of(optimizer: Optimizer) -> Iterator[Tensor]:
    """Yield all tensors that an optimizer trains."""
    for group in optimizer.param_groups:
        yield from group["params"]


def holds(optimizer: Optimizer, numbers: Iterable[Tensor]) -> bool:
    """Return whether an optimizer trains all these tensors."""
    held = {id(tensor) for tensor in numbers_of(optimizer)}
    return all(id(tensor) in held for tensor in numbers)


def require_optimizer(
    optimizer: Optimizer, numbers: Sequence[Tensor], weights: Iterable[Tensor]
) -> Optimizer:
    """Return the optimizer of torch that is to train a subspace's numbers, theta the first.

    Warn where the others share a rate of theta's that is far above lambda's own. Raise UserError
    where it cannot train them.
    """
    if wrong := validate_optimizer(optimizer, numbers, weights):
        raise UserError(*wrong)
    optimizer = unwrapped(optimizer)
    theta, others = id(numbers[0]), {id(tensor) for tensor in numbers[1:]}
    for group in optimizer.param_groups:
        rate, held = float(group["lr"]), {id(tensor) for tensor in group["params"]}
        if rate > 3 * LAMBDA_LR and theta in held and others & held:
            log.warning(
                "theta and what is trained beside it share the rate %.3g, which is too large for "
                "lambda and for a head: make the optimizer of space.parameter_groups(full_lr=...)",
                rate,
            )
    return optimizer


def validate_optimizer(
    optimizer: Optimizer, numbers: Sequence[Tensor], weights: Iterable[Tensor]
) -> list[str]:
    """Return what is wrong with an optimizer that is to train a subspace's numbers."""
    held = {id(tensor) for tensor in numbers_of(optimizer)}
    remedy = "make it of space.trainable_parameters()"
    found = []
    if any(id(weight) in held for weight in weights):
        found.append(f"the optimizer holds weights that the subspace moves: {remedy}")
    elif not holds(optimizer, numbers):
        found.append(f"the optimizer does not hold the subspace's numbers: {remedy}")
    if isinstance(unwrapped(optimizer), torch.optim.LBFGS):
        found.append("LBFGS moves theta several times in a step: expected one update in each step")
    kind = getattr(getattr(optimizer, "accelerator_state", None), "distributed_type", "NO")
    if kind != "NO":
        found.append(f"accelerate distributes the model ({kind}): {ONE_DEVICE}")
    return found


def take_over(optimizer: Optimizer, numbers: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
    """Have an optimizer made for a model's weights train a subspace's numbers in their place.

    The numbers take the place of the weights in the first of their groups, without weight decay,
    which would pull the weights back to where they began.

    Raise UserError where the optimizer leaves weights out, has different rates for them, has other
    tensors in their groups, or state already.
    """
    inside = {id(weight) for weight in weights}
    groups = [g for g in optimizer.param_groups if any(id(t) in inside for t in g["params"])]
    others = [t for g in groups for t in g["params"] if id(t) not in inside and t.requires_grad]
    wrong = []
    if missing := len(inside - {id(tensor) for tensor in numbers_of(optimizer)}):
        wrong.append(
            f"the optimizer leaves out {missing} of the model's {len(inside)} trainable "
            "tensors: expected all; freeze the others with requires_grad_(False)"
        )
    if len({float(group["lr"]) for group in groups}) > 1:
        wrong.append("the optimizer gives the weights several rates: theta has one")
    if others:
        wrong.append(
            f"the optimizer puts {len(others)} tensors outside the subspace into a group "
            "with tensors inside: expected a group of their own"
        )
    if optimizer.state:
        name = type(optimizer).__name__
        wrong.append(f"{name} has state for each weight before its first step: expected none")
    if wrong:
        either = "or make the optimizer of the subspace's parameter_groups(full_lr=...)"
        raise UserError(*wrong, either)
    for group in groups:
        group["params"][:] = []
    groups[0]["params"][:] = numbers
    groups[0]["weight_decay"] = 0.0


@contextmanager
def lent(
    optimizer: Optimizer,
    numbers: Sequence[Tensor],
    weights: Sequence[Tensor],
    kept: list[dict[str, Any]],
) -> Iterator[None]:
    """Have an optimizer made for a model's weights train a subspace's numbers, then give it back.

    It begins with what `kept` holds of each number, as `moments` returns it, and leaves there what
    it has in the end. Meanwhile its `state_dict` is one that an optimizer of the weights loads: its
    groups without any state, since that of the numbers is none of the weights'. Raise UserError as
    `take_over`.
    """
    usual = [(list(group["params"]), group.get("weight_decay")) for group in optimizer.param_groups]

    def of_weights(_: Optimizer, state: dict[str, Any]) -> None:
        state["state"] = {}
        first = 0
        for group, (params, decay) in zip(state["param_groups"], usual, strict=True):
            group |= {"params": list(range(first, first + len(params))), "weight_decay": decay}
            first += len(params)

    take_over(optimizer, numbers, weights)
    _put_moments(optimizer, numbers, kept)
    hook = optimizer.register_state_dict_post_hook(of_weights)
    try:
        yield
    finally:
        hook.remove()
        kept[:] = moments(optimizer, numbers)
        for number in numbers:
            optimizer.state.pop(number, None)
        for group, (params, decay) in zip(optimizer.param_groups, usual, strict=True):
            group["params"][:] = params
            group["weight_decay"] = decay


def moments(optimizer: Optimizer, numbers: Iterable[Tensor]) -> list[dict[str, Any]]:
    """Return what an optimizer keeps of each of some numbers."""
    return [dict(optimizer.state.get(number, {})) for number in numbers]


def _put_moments(
    optimizer: Optimizer, numbers: Sequence[Tensor], kept: Sequence[dict[str, Any]]
) -> None:
    """Give an optimizer back what `moments` returned."""
    places = {id(tensor): place for place, tensor in enumerate(numbers_of(optimizer))}
    state = optimizer.state_dict()
    for number, one in zip(numbers, kept, strict=False):  # nothing is kept before the first step
        if one:
            state["state"][places[id(number)]] = one
    optimizer.load_state_dict(state)


@contextmanager
def faster(
    optimizer: Optimizer, numbers: Sequence[Tensor], factor: float, lambda_lr: float
) -> Iterator[None]:
    """Multiply theta's rate by a factor during each step, and give lambda a rate of its own.

    lambda_lr is reached where the rate of `numbers`, theta and perhaps lambda in one group, is as
    high as it was meant to be. Outside of steps the group is as it was, so that schedulers go on as
    if for full training, those with absolute rates (OneCycleLR) too.
    """
    theta, lambdas = list(numbers[:1]), list(numbers[1:])
    usual: list[Any] = []

    def own() -> dict[str, Any]:
        # Loading an optimizer's state replaces its groups.
        groups = optimizer.param_groups
        return next(one for one in groups if any(tensor is theta[0] for tensor in one["params"]))

    # A rate of 0 throughout is lambda's too.
    whole = max(float(own().get(key, 0.0)) for key in ("max_lr", "initial_lr", "lr")) or 1.0

    def before(*_: object) -> None:
        group = own()
        lr = group["lr"]
        usual.append(lr)
        group.update(params=theta, lr=lr * factor)
        if lambdas:
            rate = lr * (lambda_lr / whole)
            optimizer.param_groups.append({**group, "params": lambdas, "lr": rate})

    def after(*_: object) -> None:
        if usual:
            own().update(params=theta + lambdas, lr=usual.pop())
            if lambdas:
                optimizer.param_groups.pop()

    hooks = [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]
    try:
        yield
    finally:
        after()
        for hook in hooks:
            hook.remove()
