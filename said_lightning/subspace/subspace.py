"""Subspace training without an autograd graph through the projection.

With v_l the sum over the tensors i of group l of P_i^T g_i, g_i the tensor's gradient,

    dL/dtheta    = sum_l lambda_l v_l
    dL/dlambda_l = <v_l, theta>        since <g_i, P_i theta> = <P_i^T g_i, theta>

so gradients are pulled back as they arise and freed, and weights are written in place after each
step: theta_i = theta_{0,i} + lambda_i P(theta)_i (arXiv 2012.13255, eq. 3; eq. 1 without lambda).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from said_lightning.errors import UserError
from said_lightning.projections import build
from said_lightning.projections.core import random
from said_lightning.subspace.groups import group_tensors, split_head
from said_lightning.subspace.lazy import LazyTable, large_tables

# Gradients wait until so many numbers are there, or the backward pass ends, and are pulled back
# together: one by one, small ones cost more to hand over than to transform, on a GPU all the more.
WAITING, WAITING_ON_GPU = 2**19, 2**23
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

    _waiting_numbers = 0

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
        self._written = self._numbers()
        self._large = large_tables(model, inside)
        self._lazy: dict[str, LazyTable] = {}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._waiting: list[tuple[str, int, Tensor]] = []

    @torch.no_grad()
    def scatter(self, bound: float, seed: int) -> None:
        """Draws theta uniformly within the bound of 0, from the seed alone, and writes it."""
        halves = random.half_words(random.key(seed, "theta", "start"), 0, self.theta.numel())
        self.theta.copy_(bound * ((halves + 0.5) / 2**15 - 1))
        self.write()

    def coordinates(self) -> list[nn.Parameter]:
        """Lists the d numbers: theta, and lambda for SAID."""
        return [self.theta, self.scale] if self.m else [self.theta]

    def head(self) -> dict[str, nn.Parameter]:
        """Gives the weights of a head outside the subspace by name."""
        return self._outside

    def attach(self) -> None:
        """Hooks the weights: each gradient is pulled back into theta's and freed as it arises.

        A few wait for others. From here to `detach`, `write` leaves a large word embedding to the
        forward passes that read it.
        """
        for index, tensors in enumerate(self.groups.values()):
            for name in tensors:
                hook = partial(self._take, name, index)
                weight = self._weights[name]
                self._handles.append(weight.register_post_accumulate_grad_hook(hook))
                self._defer(name, index)

    def detach(self) -> None:
        """Removes the hooks; all weights are written then."""
        for table in self._lazy.values():
            table.remove()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._lazy.clear()

    @torch.no_grad()
    def write(self) -> None:
        """Writes theta_0 + lambda P theta into the model's weights, in place."""
        written, self._written = self._written, self._numbers()
        for index, tensors in enumerate(self.groups.values()):
            scaled = self._scaled(self.theta, self.scale, index)
            if self._origin is None:
                scaled = scaled - self._scaled(*written, index)
            for name in tensors:
                if name in self._lazy:
                    self._lazy[name].outdate()
            now = [name for name in tensors if name not in self._lazy]
            weights = {name: self._weights[name].detach().view(-1) for name in now}
            bases = weights
            if self._origin is not None:
                bases = {name: self._origin[name].view(-1) for name in now}
            if now:
                self.projection.write_all(weights, bases, scaled)

    def flush(self) -> None:
        """Writes what `write` left to forward passes, for whoever reads the weights otherwise."""
        for table in self._lazy.values():
            table.flush()

    def restore(self) -> None:
        """Goes on from loaded coordinates; with origin="none" the weights must be loaded too."""
        if self._origin is None:
            self._written = self._numbers()
        else:
            self.write()

    def sizes(self) -> dict[str, int]:
        """Gives the number of weights of each group, in order."""
        return {
            group: sum(self._weights[name].numel() for name in tensors)
            for group, tensors in self.groups.items()
        }

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Subspace":
        """Takes theta_0 along wherever the module is moved; 16 bits are for the weights alone."""

        def move(numbers: Tensor) -> Tensor:
            moved = fn(numbers)
            return moved if moved.dtype.itemsize >= 4 else numbers.to(moved.device)

        super()._apply(move, recurse)
        theta, scale = self._written
        self._written = move(theta), move(scale)
        if self._origin is not None:
            self._origin = {name: move(weight) for name, weight in self._origin.items()}
        return self

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lets a `state_dict` whose large tables are dropped find them as they are."""
        for table in self._lazy.values():
            table.held = True
        try:
            yield
        finally:
            for table in self._lazy.values():
                table.held = False

    def _defer(self, name: str, index: int) -> None:
        """Makes a weight a lazy table if it can be one."""
        if name not in self._large or self._origin is None:
            return

        def places() -> tuple[Tensor, Tensor]:
            assert self._origin is not None
            return self._weights[name].detach().view(-1), self._origin[name].view(-1)

        def write(pieces: Tensor) -> None:
            scaled = self._scaled(*self._written, index)
            self.projection.write_pieces(*places(), scaled, name, pieces)

        if piece := self.projection.piece(*places()):
            self._lazy[name] = LazyTable(self._large[name], piece, write)

    def _take(self, name: str, index: int, weight: Tensor) -> None:
        """Takes a weight's gradient from it."""
        grad, weight.grad = weight.grad, None
        assert grad is not None
        if not self._waiting:
            torch.autograd.Variable._execution_engine.queue_callback(self._pull_back)
        self._waiting.append((name, index, grad.reshape(-1)))
        self._waiting_numbers += grad.numel()
        if self._waiting_numbers >= waiting(grad.device):
            self._pull_back()

    @torch.no_grad()
    def _pull_back(self) -> None:
        """Pulls back the gradients that wait, those of a group and factor together."""
        shares: dict[tuple[int, float], dict[str, Tensor]] = {}
        for name, index, grad in self._waiting:
            factor = self.projection.gradient_weight(name)
            shares.setdefault((index, factor), {})[name] = grad
        self._waiting.clear()
        self._waiting_numbers = 0
        for (index, factor), grads in shares.items():
            v = self.projection.pull_back_all(grads).to(self.theta)
            if self.theta.grad is None:
                self.theta.grad = torch.zeros_like(self.theta)
            if not self.m:
                self.theta.grad += v * factor
                continue
            if self.scale.grad is None:
                self.scale.grad = torch.zeros_like(self.scale)
            self.theta.grad += v * (factor * self.scale[index])
            self.scale.grad[index] += v @ self.theta

    def _numbers(self) -> tuple[Tensor, Tensor]:
        """Copies theta and lambda."""
        return self.theta.detach().clone(), self.scale.detach().clone()

    def _scaled(
        self, theta: Float[Tensor, " rest"], scale: Float[Tensor, " m"], index: int
    ) -> Float[Tensor, " rest"]:
        """Gives lambda_l theta for a group, or theta alone where there is no lambda."""
        return scale[index] * theta if self.m else theta


def waiting(device: torch.device) -> int:
    """Gives how many numbers of gradients wait before they are pulled back together."""
    return WAITING_ON_GPU if device.type == "cuda" else WAITING


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
