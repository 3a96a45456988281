"""The Kronecker-product projection of Lotfi et al. 2022 (arXiv 2211.13609), streamed in blocks."""

from collections.abc import Iterator, Mapping
from math import isqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor

from said_lightning.projections.core import random
from said_lightning.projections.core.projection import Projection


class Kronecker(Projection):
    """Stacked blocks Q1 (x) Q2 of about sqrt(rows) x sqrt(d) factors, restarted at each tensor.

    Theta is padded to a d1 x d2 matrix and a block's rows to an r1 x r2 one, so that a block is
    Q1 Theta Q2^T. The columns of a factor are orthogonal, or its rows where it has fewer of them:
    a block of more than d rows is isometric but for rows cut off. Entries have mean square 1, hence
    the factor 1/sqrt(D).

    Lotfi et al. take one product for all of D. A block here has 16 d rows or a few times as many:
    making its factors orthogonal then takes no more arithmetic than the product itself, no factor
    outlives its block, and a tensor's last block fits what is left of it: a bias of 768 gets 28 x
    28 rows, not three rows of a large product.

    What is drawn is integer-exact. The factors come from LAPACK's QR in float64, made unique by a
    positive diagonal of R, so across machines and thread counts P is the same up to rounding, about
    1e-12, not to the last bit.
    """

    def __init__(self, sizes: Mapping[str, int], d: int, seed: int) -> None:
        super().__init__(sizes, d, seed)
        self.d1, self.d2 = rectangle(d)
        self.side = max(256, 4 << ((d - 1).bit_length() + 1) // 2)  # 4 sqrt(d) at least
        self.chunk = self.grain = self.side**2
        self.scale: float = self.D**-0.5

    def forward_rows(
        self, theta: Float[Tensor, " d"], tensor: str, start: int, stop: int
    ) -> Float[Tensor, " rows"]:
        x = torch.nn.functional.pad(theta * self.scale, (0, self.d1 * self.d2 - self.d))
        matrix = x.view(self.d1, self.d2)
        blocks = self._blocks(tensor, start, stop, theta)
        return torch.cat([(q1 @ matrix @ q2.T).view(-1) for q1, q2 in blocks])[: stop - start]

    def backward_rows(
        self, grad: Float[Tensor, " rows"], tensor: str, start: int
    ) -> Float[Tensor, " d"]:
        total = grad.new_zeros(self.d1, self.d2)
        blocks = self._blocks(tensor, start, start + len(grad), grad)
        for part, (q1, q2) in zip(grad.split(self.grain), blocks, strict=True):
            padded = torch.nn.functional.pad(part, (0, len(q1) * len(q2) - len(part)))
            total += q1.T @ padded.view(len(q1), len(q2)) @ q2
        return total.view(-1)[: self.d] * self.scale

    def draws(self, tensor: str, start: int) -> Int[Tensor, " draws"]:
        return random.half_words(self.keys[tensor], self._first(start), 256)

    def _blocks(
        self, tensor: str, start: int, stop: int, like: Tensor
    ) -> Iterator[tuple[Float[Tensor, "r1 d1"], Float[Tensor, "r2 d2"]]]:
        """Draw the factors of the blocks from row `start` on."""
        for first in range(start, stop, self.grain):
            r1, r2 = rectangle(min(self.grain, stop - first))
            sizes = (r1 * self.d1, r2 * self.d2)
            halves = random.half_words(self.keys[tensor], self._first(first), sum(sizes))
            one, two = random.normals(halves, torch.float64).split(sizes)
            q1, q2 = orthogonal(one.view(r1, self.d1)), orthogonal(two.view(r2, self.d2))
            yield q1.to(like), q2.to(like)

    def _first(self, start: int) -> int:
        """Return the position of a block's first draw: `side` is a multiple of 8, as it must be."""
        return start // self.grain * self.side * (self.d1 + self.d2)


def rectangle(count: int) -> tuple[int, int]:
    """Return the sides of the smallest near-square, not lower than wide, that holds `count`."""
    high = isqrt(count - 1) + 1
    return high, -(-count // high)


def orthogonal(normals: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """Make the longer way's vectors orthogonal, with a mean square of 1 for the entries."""
    rows, columns = normals.shape
    if rows < columns:
        return orthogonal(normals.T).T
    q, r = torch.linalg.qr(normals)
    factor: Tensor = q * torch.where(r.diagonal() < 0, -1.0, 1.0) * rows**0.5
    return factor
