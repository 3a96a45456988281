"""The code that circulates as the paper's: a full-length Fastfood for each tensor."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from said_lightning.projections.core import random
from said_lightning.projections.core.projection import Projection, Sizes
from said_lightning.projections.fastfood import hadamard

GRADIENTS = ("exact", "released")


class Released(Projection):
    """Each tensor's own H G Pi H B of its padded length N_i = 2^ceil(log2 n_i), cut to n_i rows.

    For comparison with numbers that were published from that code, whose map and gradient this has
    (the draws are ours). Rows are divided by sqrt(n_i sum G^2), so each tensor moves as far as
    theta does, a bias as far as the embeddings: over all D, E|P theta|^2 = `gain` |theta|^2.
    Where d > N_i, the coordinates of theta from N_i on do not reach the tensor.

    gradient="released": that code's backward pass has H / sqrt(N_i) in place of H, twice, so what
    theta's gradient gets from a tensor is 1/N_i of P^T grad. `pull_back` is P^T in either case,
    since lambda's gradient is right there as here; `gradient_weight` is the factor for theta's.

    A tensor is worked on at its padded length: in this reference some 70 bytes for each of N_i
    numbers, for a while. Pi is kept, 4 bytes for each of the N_i, as that code keeps it.
    Raise ValueError for another `gradient`.
    """

    def __init__(self, sizes: Sizes, d: int, seed: int, gradient: str = "exact") -> None:
        super().__init__(sizes, d, seed)
        if gradient not in GRADIENTS:
            raise ValueError(f"gradient={gradient!r}: expected one of {', '.join(GRADIENTS)}")
        self.gradient = gradient
        self.lengths = {name: 1 << (size - 1).bit_length() for name, size in self.sizes.items()}
        self.chunk = self.grain = max(self.lengths.values())
        self.gain = sum(min(1.0, length / d) for length in self.lengths.values())
        self._orders: dict[str, Int[Tensor, " padded"]] = {}

    def order(self, tensor: str) -> Int[Tensor, " padded"]:
        """Return a tensor's Pi: from where it takes its numbers. It is drawn at first use."""
        if tensor not in self._orders:
            drawn = random.permutations(self.keys[tensor], 1, self.lengths[tensor])
            self._orders[tensor] = drawn[0].int()
        return self._orders[tensor]

    def gradient_weight(self, tensor: str) -> float:
        """Return the factor on what theta's gradient gets from a tensor."""
        return 1 / self.lengths[tensor] if self.gradient == "released" else 1.0

    def forward_rows(
        self, theta: Float[Tensor, " d"], tensor: str, start: int, stop: int
    ) -> Float[Tensor, " rows"]:
        signs, order, weights = self._factors(tensor, theta)
        n = len(signs)
        # A negative padding cuts. H of numbers padded with zeros repeats H of the numbers alone.
        x = torch.nn.functional.pad(theta, (0, n - self.d))
        mixed = hadamard((x * signs)[None])[0, order % n] * weights
        return hadamard(mixed[None])[0, :stop]

    def backward_rows(
        self, grad: Float[Tensor, " rows"], tensor: str, start: int
    ) -> Float[Tensor, " d"]:
        signs, order, weights = self._factors(tensor, grad)
        n = len(signs)
        padded = torch.nn.functional.pad(grad, (0, len(order) - len(grad)))
        weighted = hadamard(padded[None])[0] * weights
        sums = grad.new_zeros(n).index_add_(0, order % n, weighted)
        return torch.nn.functional.pad(hadamard(sums[None])[0] * signs, (0, self.d - n))

    def draws(self, tensor: str, start: int) -> Int[Tensor, " draws"]:
        halves = random.half_words(self.keys[tensor], 0, min(self.lengths[tensor], 128))
        return torch.cat((halves, self.order(tensor)[:128]))

    def _factors(
        self, tensor: str, like: Tensor
    ) -> tuple[Float[Tensor, " n"], Int[Tensor, " padded"], Float[Tensor, " padded"]]:
        """Draw B where theta may be, Pi, and G with its divisor; n is at most the padded length."""
        key, length = self.keys[tensor], self.lengths[tensor]
        halves = random.half_words(key, 0, length, device=like.device)
        signs = random.signs(halves[: 1 << (self.d - 1).bit_length()], like.dtype)
        normals = random.normals(halves, torch.float64)
        weights = normals * (self.sizes[tensor] * normals.square().sum()) ** -0.5
        return signs, self.order(tensor).to(like.device), weights.to(like)
