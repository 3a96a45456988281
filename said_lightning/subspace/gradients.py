"""The backward pass: the weights' gradients are pulled back into theta's and lambda's, and freed.

With v_l the sum over the tensors i of group l of P_i^T g_i, g_i the tensor's gradient,

    dL/dtheta    = sum_l lambda_l v_l
    dL/dlambda_l = <v_l, theta>        since <g_i, P_i theta> = <P_i^T g_i, theta>
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from said_lightning.projections import Projection

# Gradients wait until this many numbers are there, or the backward pass ends, and are pulled back
# together: one by one, small ones cost more to hand over than to transform, on a GPU all the more.
# Those of at most SMALL numbers, biases for the most part, wait for the end in any case: on a GPU
# they take launches of their own.
WAITING, WAITING_ON_GPU, SMALL = 2**19, 2**25, 2**16
SUMS = 2**24  # numbers at most that the sums v_l of all groups take at a time


class Gradients:
    """Takes the weights' gradients as they arise and adds to theta's and lambda's.

    `lambdas` has no elements where there is no lambda (DID). `pulled` is whether any gradient was
    taken since the weights were hooked.
    """

    def __init__(self, projection: Projection, theta: nn.Parameter, lambdas: nn.Parameter) -> None:
        self.projection = projection
        self.theta = theta
        self.lambdas = lambdas
        self.pulled = False
        self._handles: list[RemovableHandle] = []
        self._waiting: dict[str, Tensor] = {}
        self._shares: dict[str, tuple[int, float]] = {}
        self._sums: Float[Tensor, "rows d"] | None = None
        self._rows: dict[tuple[int, float], int] = {}
        self._task = -1  # the backward pass that is under way
        self._factors: dict[tuple[tuple[int, float], ...], tuple[Tensor, Tensor]] = {}

    def hook(
        self, groups: Mapping[str, Sequence[str]], weights: Mapping[str, nn.Parameter]
    ) -> None:
        """Put hooks on the weights of all groups, until `unhook`."""
        self.pulled = False
        for index, tensors in enumerate(groups.values()):
            for name in tensors:
                group = index if len(self.lambdas) else 0
                self._shares[name] = group, self.projection.gradient_weight(name)
                take = partial(self._take, name)
                self._handles.append(weights[name].register_post_accumulate_grad_hook(take))
        rows = min(len(set(self._shares.values())), max(1, SUMS // len(self.theta)))
        self._sums = self.theta.new_zeros((rows, len(self.theta)), dtype=torch.float64)

    def unhook(self) -> None:
        """Remove the hooks, and what a backward pass that failed has left waiting."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._waiting.clear()
        self._shares.clear()
        self._rows.clear()
        self._factors.clear()
        self._sums = None

    def _take(self, name: str, weight: Tensor) -> None:
        """Take a weight's gradient from it."""
        grad, weight.grad = weight.grad, None
        assert grad is not None
        # What a backward pass that failed has left waiting must not keep the next from ending.
        if (task := torch._C._current_graph_task_id()) != self._task:
            self._task = task
            torch.autograd.Variable._execution_engine.queue_callback(self._finish)
        self._waiting[name] = grad.reshape(-1)
        large = {n: one for n, one in self._waiting.items() if one.numel() > SMALL}
        if sum(one.numel() for one in large.values()) >= waiting(grad.device):
            self._pull_back(large)

    @torch.no_grad()
    def _finish(self) -> None:
        """Pull back what waits at the end of a backward pass, and give theta and lambda theirs."""
        self._pull_back(dict(self._waiting))
        if self._rows:
            self._settle()

    @torch.no_grad()
    def _pull_back(self, grads: dict[str, Tensor]) -> None:
        """Add gradients to the sums of their groups."""
        assert self._sums is not None
        for name in grads:
            del self._waiting[name]
        while grads:
            room = len(self._sums) - len(self._rows)
            shares = dict.fromkeys(self._shares[name] for name in grads)
            new = [share for share in shares if share not in self._rows][:room]
            self._rows.update({share: len(self._rows) + i for i, share in enumerate(new)})
            now = {name: grad for name, grad in grads.items() if self._shares[name] in self._rows}
            if now:
                rows = {name: self._rows[self._shares[name]] for name in now}
                self.projection.pull_back_all(now, rows, self._sums)
            if grads := {name: grad for name, grad in grads.items() if name not in now}:
                self._settle()

    def _settle(self) -> None:
        """Add to theta's and lambda's gradients what the sums hold, and empty them."""
        assert self._sums is not None
        v = self._sums[: len(self._rows)]
        index, factors = self._factors_of(tuple(self._rows))
        weights = self.lambdas[index] * factors if len(self.lambdas) else factors
        _add(self.theta, weights.double() @ v)
        if len(self.lambdas):
            share = torch.zeros_like(self.lambdas)
            _add(self.lambdas, share.index_add_(0, index, (v @ self.theta.double()).to(share)))
        v.zero_()
        self._rows.clear()
        self.pulled = True

    def _factors_of(self, shares: tuple[tuple[int, float], ...]) -> tuple[Tensor, Tensor]:
        """Return the groups and factors of rows on the device: the same after every step."""
        if shares not in self._factors:
            groups, factors = zip(*shares, strict=True)
            device = self.theta.device
            made = torch.tensor(groups, device=device), torch.tensor(factors, device=device)
            self._factors[shares] = made
        return self._factors[shares]


def _add(parameter: nn.Parameter, grad: Tensor) -> None:
    """Add to a parameter's gradient."""
    grad = grad.to(parameter)
    parameter.grad = grad if parameter.grad is None else parameter.grad + grad


def waiting(device: torch.device) -> int:
    """Return how many numbers of gradients wait before they are pulled back together."""
    return WAITING_ON_GPU if device.type == "cuda" else WAITING
