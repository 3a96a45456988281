"""The backward pass: the weights' gradients are pulled back into theta's and lambda's, and freed.

With v_l the sum over the tensors i of group l of P_i^T g_i, g_i the tensor's gradient,

    dL/dtheta    = sum_l lambda_l v_l
    dL/dlambda_l = <v_l, theta>        since <g_i, P_i theta> = <P_i^T g_i, theta>
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from said_lightning.projections import Projection

# Gradients wait until this many numbers are there, or the backward pass ends, and are pulled back
# together: one by one, small ones cost more to hand over than to transform, on a GPU all the more.
WAITING, WAITING_ON_GPU = 2**19, 2**23


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
        self._waiting: list[tuple[str, int, Tensor]] = []
        self._waiting_numbers = 0

    def hook(
        self, groups: Mapping[str, Sequence[str]], weights: Mapping[str, nn.Parameter]
    ) -> None:
        """Put hooks on the weights of all groups, until `unhook`."""
        self.pulled = False
        for index, tensors in enumerate(groups.values()):
            for name in tensors:
                take = partial(self._take, name, index)
                self._handles.append(weights[name].register_post_accumulate_grad_hook(take))

    def unhook(self) -> None:
        """Remove the hooks, and what a backward pass that failed has left waiting."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._waiting.clear()
        self._waiting_numbers = 0

    def _take(self, name: str, index: int, weight: Tensor) -> None:
        """Take a weight's gradient from it."""
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
        """Pull back the gradients that wait, those of a group and factor together."""
        shares: dict[tuple[int, float], dict[str, Tensor]] = {}
        for name, index, grad in self._waiting:
            factor = self.projection.gradient_weight(name)
            shares.setdefault((index, factor), {})[name] = grad
        self._waiting.clear()
        self._waiting_numbers = 0
        for (index, factor), grads in shares.items():
            v = self.projection.pull_back_all(grads).to(self.theta)
            self.pulled = True
            if self.theta.grad is None:
                self.theta.grad = torch.zeros_like(self.theta)
            if not len(self.lambdas):
                self.theta.grad += v * factor
                continue
            if self.lambdas.grad is None:
                self.lambdas.grad = torch.zeros_like(self.lambdas)
            self.theta.grad += v * (factor * self.lambdas[index])
            self.lambdas.grad[index] += v @ self.theta


def waiting(device: torch.device) -> int:
    """Return how many numbers of gradients wait before they are pulled back together."""
    return WAITING_ON_GPU if device.type == "cuda" else WAITING
