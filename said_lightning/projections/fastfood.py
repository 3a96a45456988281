"""Fastfood (Le, Sarlos, Smola 2013): M = H G Pi H B, eq. 2 of arXiv 2012.13255."""

from collections.abc import Iterator
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from said_lightning.projections.core import random
from said_lightning.projections.core.projection import Projection, Sizes

SMALLEST = 16  # order of the smallest block
BANK = 2**13  # numbers of a bank of permutations at least: it stays in a processor's first cache


def hadamard(x: Float[Tensor, "blocks n"]) -> Float[Tensor, "blocks n"]:
    """Multiply each row by the unnormalised Hadamard matrix of order n, a power of two.

    The butterflies run with strides 1, 2, 4 and so on: every engine adds in this order, so that all
    of them round alike.
    """
    blocks, n = x.shape
    stride = 1
    while stride < n:
        pairs = x.view(blocks, n // (2 * stride), 2, stride)
        even, odd = pairs.unbind(2)
        x = torch.stack((even + odd, even - odd), dim=2).view(blocks, n)
        stride *= 2
    return x


class Fastfood(Projection):
    """Stacked blocks H G Pi H B of n = 2^ceil(log2 d) rows (16 at least), restarted at each tensor.

    H is Hadamard, B random signs, Pi a random permutation, G standard normal. B and G are drawn for
    every block. Pi takes row i from place sigma(p(i)), where sigma is one of a few uniform
    permutations that the blocks of an order share, and p, a block's own, permutes groups of 16
    neighbours: the k-th of them goes to a k + c, a odd, modulo their number. G and B alone make
    blocks independent but for moments of order 8 and more; p makes those rare too.

    Where fewer than n rows are left of a tensor, the block is of the smallest order r that gives
    them, and B x, still of n numbers, is folded to r by adding its halves: else a bias would cost
    as much as n weights. A row of a block of order r has expected squared norm r for each of the d
    coordinates, hence the factor 1/sqrt(r D).
    """

    def __init__(self, sizes: Sizes, d: int, seed: int) -> None:
        super().__init__(sizes, d, seed)
        self.n = self.grain = order(d)
        self.chunk = max(self.chunk, self.n)

    @cached_property
    def banks(self) -> Int[Tensor, " numbers"]:
        """The permutations that blocks of an order share, of all orders up to n, ascending."""
        drawn = []
        for r in self.orders():
            key = random.key(self.seed, str(r), f"{self.name} {self.d} permutations")
            drawn.append(random.permutations(key, max(1, BANK // r), r).view(-1))
        return torch.cat(drawn).int()

    @cached_property
    def inverse_banks(self) -> Int[Tensor, " numbers"]:
        """The inverse of each of those permutations."""
        banks = [self.banks[self.begin(r) : self.begin(2 * r)].view(-1, r) for r in self.orders()]
        return torch.cat([bank.argsort(dim=1).view(-1) for bank in banks]).int()

    def begin(self, r: int) -> int:
        """Return where in `banks` the permutations of order r begin."""
        return sum(max(BANK, smaller) for smaller in self.orders() if smaller < r)

    def variants(
        self, tensor: str, first: int, blocks: int, r: int
    ) -> tuple[Int[Tensor, " blocks"], Int[Tensor, " blocks"]]:
        """Return the offsets and factors of blocks from number `first` on.

        An offset is where p begins in the order's bank of permutations, a multiple of 16 that names
        sigma and c; a factor is a. Both are bits, from the top on, of a sequence that adds an odd
        key word, so that they walk evenly through all there are.
        """
        k0, k1 = self.keys[tensor]
        steps = torch.arange(first, first + blocks) & random.MASK
        drawn = ((k0 + steps * (k1 | 1)) & random.MASK) * (max(BANK, r) // SMALLEST)
        factors = ((drawn & random.MASK) * (r // SMALLEST) >> 32) | 1
        return drawn >> 32 << 4, factors

    def scale(self, r: int) -> float:
        """Return the factor of a block of order r."""
        return (r * self.D) ** -0.5

    def forward_rows(
        self, theta: Float[Tensor, " d"], tensor: str, start: int, stop: int
    ) -> Float[Tensor, " rows"]:
        parts = []
        for first, blocks, r in self._runs(start, stop):
            halves, permutation = self._draw(tensor, first, blocks, r, theta.device)
            x = torch.nn.functional.pad(theta * self.scale(r), (0, self.n - self.d))
            folded = fold(x * random.signs(halves, theta.dtype), r)
            mixed = hadamard(folded).gather(1, permutation)
            parts.append(hadamard(mixed * random.normals(halves[:, :r], theta.dtype)).view(-1))
        return torch.cat(parts)[: stop - start]

    def backward_rows(
        self, grad: Float[Tensor, " rows"], tensor: str, start: int
    ) -> Float[Tensor, " d"]:
        total = grad.new_zeros(self.d, dtype=torch.float64)
        for first, blocks, r in self._runs(start, start + len(grad)):
            halves, permutation = self._draw(tensor, first, blocks, r, grad.device)
            rows = grad[first - start :][: blocks * r]
            padded = torch.nn.functional.pad(rows, (0, blocks * r - len(rows))).view(blocks, r)
            weighted = hadamard(padded) * random.normals(halves[:, :r], grad.dtype)
            mixed = torch.zeros_like(weighted).scatter_(1, permutation, weighted)
            signed = hadamard(mixed).repeat(1, self.n // r) * random.signs(halves, grad.dtype)
            total += signed.sum(0, dtype=torch.float64)[: self.d] * self.scale(r)
        return total

    def draws(self, tensor: str, start: int) -> Int[Tensor, " draws"]:
        halves = random.half_words(self.keys[tensor], start, min(self.n, 128))
        r = order(min(self.n, self.sizes[tensor] - start))
        (permutation,) = self._permutations(tensor, start // r, 1, r)
        return torch.cat((halves, permutation[:128]))

    def _runs(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Split rows into runs of blocks of one order: first row, number of blocks, order."""
        whole, rest = divmod(stop - start, self.n)
        if whole:
            yield start, whole, self.n
        if rest:
            yield stop - rest, 1, order(rest)

    def _draw(
        self, tensor: str, first: int, blocks: int, r: int, device: torch.device
    ) -> tuple[Int[Tensor, "blocks n"], Int[Tensor, "blocks r"]]:
        """Draw the half-words (B and G) and the permutations of the blocks from row `first` on."""
        n = self.n
        halves = random.half_words(self.keys[tensor], first, blocks * n, device=device)
        permutations = self._permutations(tensor, first // r, blocks, r)
        return halves.view(blocks, n), permutations.to(device)

    def _permutations(
        self, tensor: str, first: int, blocks: int, r: int
    ) -> Int[Tensor, "blocks r"]:
        """Return each block's Pi: from where it takes its rows."""
        offsets, factors = (x[:, None] for x in self.variants(tensor, first, blocks, r))
        rows = torch.arange(r)
        places = (rows // SMALLEST * SMALLEST * factors + offsets) % r + rows % SMALLEST
        return self.banks[self.begin(r) + offsets // r * r + places].long()

    def orders(self) -> list[int]:
        """List the orders of blocks, ascending."""
        return [1 << bits for bits in range(SMALLEST.bit_length() - 1, self.n.bit_length())]


def fold(x: Float[Tensor, "blocks n"], r: int) -> Float[Tensor, "blocks r"]:
    """Add the second half of each row to its first until r numbers are left."""
    while x.shape[1] > r:
        first, second = x.chunk(2, dim=1)
        x = first + second
    return x


def order(rows: int) -> int:
    """Return the order of the smallest block that holds `rows` rows."""
    return max(SMALLEST, 1 << (rows - 1).bit_length())
