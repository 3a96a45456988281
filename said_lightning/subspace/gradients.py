"""The backward pass: the weights' gradients are pulled back into theta's and lambda's, and freed.

With v_l the sum over the tensors i of group l of P_i^T g_i, g_i the tensor's gradient,

    dL/dtheta    = sum_l lambda_l v_l
    dL/dlambda_l = <v_l, theta>        since <g_i, P_i theta> = <P_i^T g_i, theta>
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from said_lightning.projections import Projection

# Gradients wait until this many numbers are there, or the backward pass ends, and are pulled back
# together: one by one, small ones cost more to hand over than to transform, on a GPU all the more.
# Those of at most SMALL numbers, biases for the most part, wait for the end in any case: on a GPU
# they take launches of their own.
WAITING, WAITING_ON_GPU, SMALL = 2**19, 3 * 2**24, 2**16
SUMS = 2**24  # numbers at most that the sums v_l of all groups take at a time


class Gradients:
    """Takes the weights' gradients as they arise and adds to theta's and lambda's.

    `lambdas` has no elements where there is no lambda (DID).
    """

    def __init__(self, projection: Projection, theta: nn.Parameter, lambdas: nn.Parameter) -> None:
        self.projection = projection
        self.theta = theta
        self.lambdas = lambdas
        self._pulled = False
        self._handles: list[RemovableHandle] = []
        self._task = -1  # the backward pass that is under way
        self._waiting: dict[str, Tensor] = {}
        self._large = 0  # numbers that wait in gradients of more than SMALL
        # A share is what goes into one sum: a group's tensors of one factor on theta's gradient.
        self._shares: dict[str, int] = {}
        self._groups: Int[Tensor, " shares"] = torch.empty(0, dtype=torch.long)
        self._factors: Float[Tensor, " shares"] | None = None
        self._sums: Float[Tensor, "rows d"] | None = None
        self._first: int | None = None  # the share of the first row, None while all are empty

    def require(self) -> None:
        """Raise RuntimeError where no gradient was taken since the weights were hooked."""
        if not self._pulled:
            raise RuntimeError(
                "optimizer.step() before a gradient reached the model's weights: expected "
                "loss.backward() of the model that the Subspace was made of"
            )

    def hook(
        self, groups: Mapping[str, Sequence[str]], weights: Mapping[str, nn.Parameter]
    ) -> None:
        """Put hooks on the weights, until `unhook`; other tensors of the groups are added."""
        self._pulled = False
        found: dict[tuple[int, float], int] = {}
        for index, tensors in enumerate(groups.values()):
            for name in tensors:
                factor = self.projection.gradient_weight(name)
                share = (index if len(self.lambdas) else 0), factor
                self._shares[name] = found.setdefault(share, len(found))
                if name in weights:
                    take = partial(self._take, name)
                    self._handles.append(weights[name].register_post_accumulate_grad_hook(take))
        indices, factors = zip(*found, strict=True)
        self._groups = torch.tensor(indices).to(self.theta.device)
        ones = set(factors) == {1.0}
        self._factors = None if ones else torch.tensor(factors).to(self.theta)
        rows = min(len(found), max(1, SUMS // len(self.theta)))
        self._sums = self.theta.new_zeros((rows, len(self.theta)), dtype=torch.float64)

    def unhook(self) -> None:
        """Remove the hooks, and what a backward pass that failed has left waiting."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._waiting.clear()
        self._large = 0
        self._shares.clear()
        self._sums = self._first = None

    def _take(self, name: str, weight: Tensor) -> None:
        """Take a weight's gradient from it."""
        grad, weight.grad = weight.grad, None
        assert grad is not None
        self._begin()
        self._waiting[name] = grad.reshape(-1)
        if grad.numel() > SMALL:
            self._large += grad.numel()
            if self._large >= waiting(grad.device):
                large = {n: one for n, one in self._waiting.items() if one.numel() > SMALL}
                self._pull_back(large)

    @torch.no_grad()
    def add(self, name: str, v: Float[Tensor, " d"]) -> None:
        """Add the P^T g of a weight whose gradient g was never formed, in a backward pass."""
        self._begin()
        row = self._row(self._shares[name])
        assert self._sums is not None
        self._sums[row] += v

    def _begin(self) -> None:
        """Let the backward pass that is under way end with `_finish`."""
        # What a backward pass that failed has left waiting must not keep the next from ending.
        if (task := torch._C._current_graph_task_id()) != self._task:
            self._task = task
            torch.autograd.Variable._execution_engine.queue_callback(self._finish)

    @torch.no_grad()
    def _finish(self) -> None:
        """Pull back what waits at the end of a backward pass, and give theta and lambda theirs."""
        self._pull_back(dict(self._waiting))
        self._settle()

    @torch.no_grad()
    def _pull_back(self, grads: dict[str, Tensor]) -> None:
        """Add gradients, all large ones among them, to the sums of their shares.

        A few shares have rows at a time.
        """
        assert self._sums is not None
        self._large = 0
        together: dict[int, list[str]] = {}
        for name in grads:
            del self._waiting[name]
            together.setdefault(self._window(self._shares[name]), []).append(name)
        for names in together.values():
            rows = {name: self._row(self._shares[name]) for name in names}
            self.projection.pull_back_all({n: grads[n] for n in names}, rows, self._sums)

    def _window(self, share: int) -> int:
        """Return the first share of those that have rows of the sums together with this one."""
        assert self._sums is not None
        return share // len(self._sums) * len(self._sums)

    def _row(self, share: int) -> int:
        """Return a share's row of the sums, which are emptied where it has none as they are."""
        first = self._window(share)
        if self._first != first:
            self._settle()
            self._first = first
        return share - first

    def _settle(self) -> None:
        """Add to theta's and lambda's gradients what the sums hold, and empty them."""
        if self._first is None:
            return
        assert self._sums is not None
        now = slice(self._first, self._first + len(self._sums))
        groups = self._groups[now]
        v = self._sums[: len(groups)]
        weights = self.lambdas[groups] if len(self.lambdas) else torch.ones_like(v[:, 0])
        if self._factors is not None:
            weights = weights * self._factors[now]
        _add(self.theta, weights.double() @ v)
        if len(self.lambdas):
            share = torch.zeros_like(self.lambdas)
            _add(self.lambdas, share.index_add_(0, groups, (v @ self.theta.double()).to(share)))
        v.zero_()
        self._first = None
        self._pulled = True


def _add(parameter: nn.Parameter, grad: Tensor) -> None:
    """Add to a parameter's gradient."""
    grad = grad.to(parameter)
    parameter.grad = grad if parameter.grad is None else parameter.grad + grad


def waiting(device: torch.device) -> int:
    """Return how many numbers of gradients wait before they are pulled back together."""
    return WAITING_ON_GPU if device.type == "cuda" else WAITING
