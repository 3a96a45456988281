"""The random dense projection of Li et al. 2018 (arXiv 1804.08838), streamed."""

from jaxtyping import Float, Int
from torch import Tensor

from said_lightning.projections.core import random
from said_lightning.projections.core.projection import Projection, Sizes


class Dense(Projection):
    """Independent normal entries of variance 1/D, drawn when they are needed: O(D d) time.

    Entry (row, column) is made of the half-word at position row * d + column.
    """

    def __init__(self, sizes: Sizes, d: int, seed: int) -> None:
        super().__init__(sizes, d, seed)
        self.chunk = self.grain * max(1, 2**22 // (self.grain * d))
        self.scale = self.D**-0.5

    def forward_rows(
        self, theta: Float[Tensor, " d"], tensor: str, start: int, stop: int
    ) -> Float[Tensor, " rows"]:
        return self._entries(tensor, start, stop - start, theta) @ (theta * self.scale)

    def backward_rows(
        self, grad: Float[Tensor, " rows"], tensor: str, start: int
    ) -> Float[Tensor, " d"]:
        wide = grad.double()
        return (wide @ self._entries(tensor, start, len(grad), wide)) * self.scale

    def draws(self, tensor: str, start: int) -> Int[Tensor, " draws"]:
        return random.half_words(self.keys[tensor], start * self.d, 256)

    def _entries(self, tensor: str, start: int, rows: int, like: Tensor) -> Float[Tensor, "rows d"]:
        first, count = start * self.d, rows * self.d
        halves = random.half_words(self.keys[tensor], first, count, device=like.device)
        return random.normals(halves, like.dtype).view(rows, self.d)
