"""Subspace training without an autograd graph through the projection.

With v_l the sum over the tensors i of group l of P_i^T g_i, g_i the tensor's gradient,

    dL/dtheta    = sum_l lambda_l v_l
    dL/dlambda_l = <v_l, theta>        since <g_i, P_i theta> = <P_i^T g_i, theta>

so gradients are pulled back as they arise and freed, and weights are written in place after each
step: theta_i = theta_{0,i} + lambda_i P(theta)_i (arXiv 2012.13255, eq. 3; eq. 1 without lambda).
"""

from collections.abc import Callable
from functools import partial
from itertools import takewhile
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from said_lightning.errors import UserError
from said_lightning.projections import build

# method, groups, head, origin
OPTIONS = (
    ("did", "said"),
    ("layer", "tensor"),
    ("inside", "outside"),
    ("copy", "none"),
)


class Subspace(nn.Module):
    """The d trained numbers of a model and the way between them and its weights.

    theta (d - m numbers, starts at 0) and, for SAID, scale (lambda: m numbers, one for each group,
    starts at 1) are the only parameters. The model keeps plain weights, which are theta_0 +
    lambda P theta after each `write`. D counts the model's trainable numbers, tied ones once; with
    head="outside" the classification head is left to ordinary training and counted in `outside`.

    origin="copy" keeps theta_0 (D numbers) and writes exactly; origin="none" adds differences in
    place and keeps none, at the price of a rounding drift.

    Further options are the projection's own.

    Raises UserError where d does not exceed m or exceeds D, ValueError for an unknown option.
    """

    def __init__(
        self,
        model: nn.Module,
        d: int,
        seed: int,
        projection: str = "fastfood",
        method: str = "said",
        groups: str = "layer",
        head: str = "inside",
        origin: str = "copy",
        **options: Any,
    ) -> None:
        super().__init__()
        for option, valid in zip((method, groups, head, origin), OPTIONS, strict=True):
            if option not in valid:
                raise ValueError(f"{option!r}: expected one of {valid}")
        inside, outside = split_head(model, head)
        self.groups, self.D = budget(model, method, groups, head)
        self.m = len(self.groups) if method == "said" else 0
        self.d = d
        self.outside = sum(weight.numel() for weight in outside.values())
        if problems := budget_problems(d, self.m, self.D):
            raise UserError(*problems)
        self._weights = inside
        self._outside = outside
        sizes = {name: weight.numel() for name, weight in inside.items()}
        self.projection = build(projection, sizes, d - self.m, seed, **options)
        device = next(iter(inside.values())).device
        self.theta = nn.Parameter(torch.zeros(d - self.m, device=device))
        self.scale = nn.Parameter(torch.ones(self.m, device=device))
        self._origin = (
            {name: weight.detach().clone() for name, weight in inside.items()}
            if origin == "copy"
            else None
        )
        self._written = self._scaled_theta()
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def coordinates(self) -> list[nn.Parameter]:
        """Lists the d numbers: theta, and lambda for SAID."""
        return [self.theta, self.scale] if self.m else [self.theta]

    def head(self) -> dict[str, nn.Parameter]:
        """Gives the weights of a head outside the subspace by name."""
        return self._outside

    def attach(self) -> None:
        """Hooks the weights: each gradient is pulled back into theta's and freed as it arises."""
        for index, tensors in enumerate(self.groups.values()):
            for name in tensors:
                hook = partial(self._pull_back, name, index)
                weight = self._weights[name]
                self._handles.append(weight.register_post_accumulate_grad_hook(hook))

    def detach(self) -> None:
        """Removes the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @torch.no_grad()
    def write(self) -> None:
        """Writes theta_0 + lambda P theta into the model's weights, in place."""
        scaled = self._scaled_theta()
        for index, tensors in enumerate(self.groups.values()):
            for name in tensors:
                weight = self._weights[name].detach().view(-1)
                if self._origin is None:
                    step = scaled[index] - self._written[index]
                    self.projection.write(weight, weight, step, name)
                else:
                    base = self._origin[name].view(-1)
                    self.projection.write(weight, base, scaled[index], name)
        if self._origin is None:
            self._written = scaled

    def restore(self) -> None:
        """Goes on from loaded coordinates; with origin="none" the weights must be loaded too."""
        if self._origin is None:
            self._written = self._scaled_theta()
        else:
            self.write()

    def sizes(self) -> dict[str, int]:
        """Gives the number of weights of each group, in order."""
        return {
            group: sum(self._weights[name].numel() for name in tensors)
            for group, tensors in self.groups.items()
        }

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Subspace":
        """Takes theta_0 along wherever the module is moved."""
        super()._apply(fn, recurse)
        self._written = fn(self._written)
        if self._origin is not None:
            self._origin = {name: fn(weight) for name, weight in self._origin.items()}
        return self

    @torch.no_grad()
    def _pull_back(self, name: str, index: int, weight: Tensor) -> None:
        assert weight.grad is not None
        v = self.projection.pull_back(weight.grad.reshape(-1), name).to(self.theta)
        weight.grad = None
        if self.theta.grad is None:
            self.theta.grad = torch.zeros_like(self.theta)
        share = v * self.projection.gradient_weight(name)
        if not self.m:
            self.theta.grad += share
            return
        if self.scale.grad is None:
            self.scale.grad = torch.zeros_like(self.scale)
        self.theta.grad += share * self.scale[index]
        self.scale.grad[index] += v @ self.theta

    @torch.no_grad()
    def _scaled_theta(self) -> Float[Tensor, "groups rest"]:
        """Gives lambda_l theta for each group, or theta alone where there is no lambda."""
        return self.scale[:, None] * self.theta if self.m else self.theta[None].clone()


def budget(
    model: nn.Module, method: str, groups: str, head: str
) -> tuple[dict[str, list[str]], int]:
    """Gives the groups of tensors (one group, "all", for DID) and D; needs no weights."""
    inside, _ = split_head(model, head)
    D = sum(weight.numel() for weight in inside.values())
    if method == "did":
        return {"all": list(inside)}, D
    if groups == "tensor":
        return {name: [name] for name in inside}, D
    return group_tensors(model, inside), D


def budget_problems(d: int, m: int, D: int) -> list[str]:
    """Tells what is wrong with a budget of d numbers for m scales and D weights."""
    if d <= m:
        reason = f", since SAID takes its m={m} scales out of d" if m else ""
        return [f"d={d}: expected at least {m + 1}{reason}"]
    if d > D:
        return [f"d={d}: the model has only D={D:,} trainable weights; d can be at most {D}"]
    return []


def split_head(
    model: nn.Module, head: str
) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Splits the trainable weights, tied ones once, into those inside the subspace and the rest.

    The head is what lies outside the encoder, transformers' `base_model_prefix`, if any.
    """
    trainable = {name: w for name, w in model.named_parameters() if w.requires_grad}
    if head == "inside":
        return trainable, {}
    encoder = _encoder(model)
    inside = {name: w for name, w in trainable.items() if name.startswith(encoder)}
    return inside, {name: w for name, w in trainable.items() if name not in inside}


def group_tensors(model: nn.Module, weights: dict[str, nn.Parameter]) -> dict[str, list[str]]:
    """Groups tensors by layer, in the model's order: embeddings, layer.0, layer.1, ..., head.

    A layer is an element of an outermost nn.ModuleList. Embeddings are what comes before the first
    layer or lies beside the layers in their stack (relative positions, a final norm); the head is
    the rest (pooler, classifier), and all outside the encoder. Where a model has several stacks,
    their names come first: encoder.layer.0, decoder.layer.0.
    """
    lists = {name for name, part in model.named_modules() if isinstance(part, nn.ModuleList)}
    layers = {name: layer for name in weights if (layer := _layer(name, lists)) is not None}
    stacks = {stack for stack, _ in layers.values()}
    before = set(takewhile(lambda name: name not in layers, weights))
    encoder = _encoder(model)
    groups: dict[str, list[str]] = {"embeddings": []}
    head = []
    for name in weights:
        if name in layers:
            stack, index = layers[name]
            prefix = f"{stack.rpartition('.')[2]}." if len(stacks) > 1 else ""
            groups.setdefault(f"{prefix}layer.{index}", []).append(name)
        elif name.startswith(encoder) and (name in before or _beside(name, stacks)):
            groups["embeddings"].append(name)
        else:
            head.append(name)
    groups["head"] = head
    return {group: tensors for group, tensors in groups.items() if tensors}


def _layer(name: str, lists: set[str]) -> tuple[str, int] | None:
    """Finds the stack of layers that a tensor lies in, and its layer there, outermost first."""
    parts = name.split(".")
    for index, part in enumerate(parts):
        if part.isdigit() and ".".join(parts[:index]) in lists:
            return ".".join(parts[: index - 1]), int(part)
    return None


def _encoder(model: nn.Module) -> str:
    """Gives the start of the encoder's tensor names, "" for a model that is one."""
    name = getattr(model, "base_model_prefix", "")
    return f"{name}." if name and hasattr(model, name) else ""


def _beside(name: str, stacks: set[str]) -> bool:
    return any(stack and name.startswith(f"{stack}.") for stack in stacks)
