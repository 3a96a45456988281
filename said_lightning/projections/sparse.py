"""The random sparse projection of Li et al. 2018 (arXiv 1804.08838), streamed."""

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from said_lightning.projections.core import random
from said_lightning.projections.core.projection import Projection, Sizes


class Sparse(Projection):
    """Very sparse signed entries: each is 0 but with probability 1/sqrt(rows of its tensor).

    Li et al. take 1/sqrt(D); the tensor's own length stands for D here, so that its rows do not
    depend on other tensors. A row draws how many entries it has from the binomial distribution and
    places each of them independently; two on one place (a chance of about d / 2 rows) add up.
    """

    def __init__(self, sizes: Sizes, d: int, seed: int) -> None:
        super().__init__(sizes, d, seed)
        self.thresholds = {name: binomial_thresholds(d, n) for name, n in self.sizes.items()}
        most = d * min(self.sizes.values()) ** -0.5
        self.chunk = self.grain * max(1, int(2**20 / (8 + most) / self.grain))
        self.scales = {name: (n**-0.5 * self.D) ** -0.5 for name, n in self.sizes.items()}

    def forward_rows(
        self, theta: Float[Tensor, " d"], tensor: str, start: int, stop: int
    ) -> Float[Tensor, " rows"]:
        place, sign = self._entries(tensor, start, stop - start, theta.device)
        return (theta[place] * sign).sum(1) * self.scales[tensor]

    def backward_rows(
        self, grad: Float[Tensor, " rows"], tensor: str, start: int
    ) -> Float[Tensor, " d"]:
        place, sign = self._entries(tensor, start, len(grad), grad.device)
        values = (grad.double()[:, None] * sign).view(-1)
        sums = values.new_zeros(self.d).index_add_(0, place.view(-1), values)
        return sums * self.scales[tensor]

    def draws(self, tensor: str, start: int) -> Int[Tensor, " draws"]:
        place, sign = self._entries(tensor, start, min(128, self.sizes[tensor] - start), None)
        return torch.cat((place.view(-1), sign.view(-1)))

    def _entries(
        self, tensor: str, start: int, rows: int, device: torch.device | None
    ) -> tuple[Int[Tensor, "rows most"], Int[Tensor, "rows most"]]:
        """Draw each row's places in theta and signs; signs are 0 past the row's own count.

        A row's first word gives the count, the other three of its first draw and the four of each
        later one (stream 1, 2, ...) an entry each: the lowest bit the sign, the others the place.
        """
        key, thresholds = self.keys[tensor], self.thresholds[tensor].to(device)
        position = torch.arange(start, start + rows, dtype=torch.int64, device=device)
        first, *others = random.words(key, position, 0).T
        count = torch.searchsorted(thresholds, first.contiguous(), right=True)
        for stream in range(1, 1 + int(count.max()) // 4):
            others.extend(random.words(key, position, stream).T)
        words = torch.stack(others, dim=1)
        kept = torch.arange(words.shape[1], device=device) < count[:, None]
        return (words >> 1) * self.d >> 31, (1 - 2 * (words & 1)) * kept


@cache
def binomial_thresholds(d: int, rows: int) -> Int[Tensor, " counts"]:
    """Return 2^32 P(count <= k) for k = 0, 1, ... of Binomial(d, 1/sqrt(rows)), rounded.

    Decimal arithmetic makes the integers the same on every machine. A 32-bit word w draws the count
    of thresholds that are <= w.
    """
    with localcontext(Context(prec=60, Emin=MIN_EMIN, Emax=MAX_EMAX)):
        probability = 1 / Decimal(rows).sqrt()
        if probability == 1:
            return torch.zeros(d, dtype=torch.int64)
        term = (1 - probability) ** d
        odds, total = probability / (1 - probability), term
        thresholds: list[int] = []
        while len(thresholds) < d and (round(total * 2**32) < 2**32):
            thresholds.append(round(total * 2**32))
            k = len(thresholds)
            term = term * (d - k + 1) / k * odds
            total += term
    return torch.tensor(thresholds, dtype=torch.int64)
