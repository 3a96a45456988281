"""The random partition of Uni-LoRA (arXiv 2506.00799) and GPart (arXiv 2605.14841)."""

from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from said_lightning.projections.core import random
from said_lightning.projections.core.projection import Projection


class Partition(Projection):
    """Each row takes one of the d slots, with a random sign, over the root of the slot's count.

    With c_j of all D rows in slot j, the one entry of a row is +-1/sqrt(c_j), so P^T P = I exactly.
    A tensor's slots and signs are drawn by its own name; c_j is what other tensors change, a factor
    for each coordinate of theta in place of the common 1/sqrt(D) (c_j is D/d up to a few times
    sqrt(D/d)). The d factors are counted in one pass over the draws, at first use, and kept.

    Where D is less than about 20 d a slot may stay empty: its coordinate moves nothing, and the
    others carry the factor sqrt(d / slots in use), which keeps E|P theta|^2 = |theta|^2.
    """

    @cached_property
    def counts(self) -> Int[Tensor, " d"]:
        """Rows of all tensors in each slot, on the CPU."""
        counts = torch.zeros(self.d, dtype=torch.int64)
        count = getattr(self._engine(counts), "count", Partition._count)
        for tensor in self.sizes:
            counts += count(self, tensor)
        return counts

    @cached_property
    def factors(self) -> Float[Tensor, " d"]:
        """Magnitude of the entries in each slot, in float64; 0 in an empty one."""
        share = self.d / int(self.counts.count_nonzero())
        return torch.where(self.counts > 0, (share / self.counts.double()).sqrt(), 0.0)

    def forward_rows(
        self, theta: Float[Tensor, " d"], tensor: str, start: int, stop: int
    ) -> Float[Tensor, " rows"]:
        slot, sign = self._entries(tensor, start, stop - start, theta.device)
        return (theta * self.factors.to(theta))[slot] * sign

    def backward_rows(
        self, grad: Float[Tensor, " rows"], tensor: str, start: int
    ) -> Float[Tensor, " d"]:
        slot, sign = self._entries(tensor, start, len(grad), grad.device)
        return grad.new_zeros(self.d).index_add_(0, slot, grad * sign) * self.factors.to(grad)

    def draws(self, tensor: str, start: int) -> Int[Tensor, " draws"]:
        return torch.cat(self._entries(tensor, start, min(128, self.sizes[tensor] - start), None))

    def _count(self, tensor: str) -> Int[Tensor, " d"]:
        """Count a tensor's rows in each slot."""
        counts, size = torch.zeros(self.d, dtype=torch.int64), self.sizes[tensor]
        for start in range(0, size, self.chunk):
            slot, _ = self._entries(tensor, start, min(self.chunk, size - start), None)
            counts += torch.bincount(slot, minlength=self.d)
        return counts

    def _entries(
        self, tensor: str, start: int, rows: int, device: torch.device | None
    ) -> tuple[Int[Tensor, " rows"], Int[Tensor, " rows"]]:
        return random.slots(self.keys[tensor], start, rows, self.d, device)
