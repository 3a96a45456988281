"""Counter-based randomness: every draw is a pure function of (seed, tensor name, position).

Everything random in P comes from here: Philox 4x32-7 (Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3"), the normal quantiles and permutations. All of it is integer
arithmetic and one fixed table, so P is the same on every device, thread count and version.
These torch functions are the specification; the engines are tested against them.
"""

import hashlib
import statistics
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 7  # the fewest that pass BigCrush (Salmon et al. 2011, table 2)

# The streams keep the draws of one tensor apart: the third word of the counter.
STREAM_ROWS, STREAM_PERMUTATION = 0, 1

HALVES = 8  # half-words of a counter
QUANTILES = 4096  # magnitudes of a normal draw; with the sign 8,192 equally likely values
NORMAL_SIGN, SIGN = 12, 13  # the bits of a half-word that are the signs of G and B
PART = 2**20  # counters drawn at a time for a permutation, which bounds its memory


def key(seed: int, tensor: str, purpose: str) -> tuple[int, int]:
    """Return the two 32-bit key words for a tensor: the first 8 bytes of a BLAKE2b hash."""
    digest = hashlib.blake2b(f"{seed}\0{purpose}\0{tensor}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def philox(
    key: tuple[int, int], counter: Int[Tensor, "4 draws"], rounds: int = ROUNDS
) -> Int[Tensor, "4 draws"]:
    """Encrypt 128-bit counters by Philox 4x32-7, as 32-bit words held in int64."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        # The 64-bit products wrap as signed numbers; masking the shifted halves undoes the sign.
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        high0, high1 = (p0 >> 32) & MASK, (p1 >> 32) & MASK
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, p1 & MASK, high0 ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return torch.stack((c0, c1, c2, c3))


def words(
    key: tuple[int, int], position: Int[Tensor, " draws"], stream: int
) -> Int[Tensor, "draws 4"]:
    """Draw four 32-bit words (held in int64) for each 64-bit position of a stream."""
    zero = torch.zeros_like(position)
    return philox(key, torch.stack((position & MASK, position >> 32, zero + stream, zero))).T


def half_words(
    key: tuple[int, int], first: int, count: int, device: torch.device | None = None
) -> Int[Tensor, " count"]:
    """Draw the 16-bit numbers of positions `first` to `first + count`, `first` a multiple of 8.

    Each counter gives eight, the low half of each word before the high one.
    """
    counters = torch.arange(-(-count // HALVES), dtype=torch.int64, device=device)
    return halves_of(key, counters + first // HALVES).reshape(-1)[:count]


def halves_of(key: tuple[int, int], counters: Int[Tensor, " n"]) -> Int[Tensor, "n halves"]:
    """Draw the HALVES 16-bit numbers of each counter."""
    drawn = words(key, counters, STREAM_ROWS)
    return torch.stack((drawn & 0xFFFF, drawn >> 16), dim=-1).flatten(1)


def slots(
    key: tuple[int, int], start: int, rows: int, d: int, device: torch.device | None = None
) -> tuple[Int[Tensor, " rows"], Int[Tensor, " rows"]]:
    """Draw one of d slots and a sign for rows from `start` on, a multiple of 4: a word each.

    The word's lowest bit is the sign.
    """
    counters = torch.arange(-(-rows // 4), dtype=torch.int64, device=device) + start // 4
    drawn = words(key, counters, STREAM_ROWS).reshape(-1)[:rows]
    return (drawn >> 1) * d >> 31, 1 - 2 * (drawn & 1)


@cache
def quantile_table() -> np.ndarray:
    """Return the 4,096 float32 magnitudes of a normal draw, ascending, with mean square 1.

    They are the half-normal quantiles at (i + 1/2) / 4096, scaled to unit variance, then rounded to
    multiples of 2^-20 so that no libm's last bit can show. The largest is 3.84.
    """
    normal = statistics.NormalDist()
    half = [normal.inv_cdf(0.5 + (i + 0.5) / (2 * QUANTILES)) for i in range(QUANTILES)]
    unit = (sum(x * x for x in half) / QUANTILES) ** 0.5
    return np.array([round(x / unit * 2**20) / 2**20 for x in half], dtype=np.float32)


def normals(halves: Int[Tensor, "*shape"], dtype: torch.dtype) -> Float[Tensor, "*shape"]:
    """Turn half-words into standard normals: bits 0-11 pick the magnitude, bit 12 is the sign."""
    table = torch.from_numpy(quantile_table()).to(halves.device, dtype)
    magnitude = table[halves & (QUANTILES - 1)]
    return torch.where((halves >> NORMAL_SIGN) & 1 != 0, -magnitude, magnitude)


def signs(halves: Int[Tensor, "*shape"], dtype: torch.dtype) -> Float[Tensor, "*shape"]:
    """Turn half-words into signs, -1 where bit 13 is set, so one draw serves B and G alike."""
    return 1 - 2 * ((halves >> SIGN) & 1).to(dtype)


def permutations(key: tuple[int, int], count: int, n: int) -> Int[Tensor, "count n"]:
    """Draw permutations of 0..n-1, each uniform: the order of n random 63-bit numbers."""
    parts = []
    for first in range(0, -(-count * n // 2), PART):
        counters = torch.arange(first, min(first + PART, -(-count * n // 2)))
        drawn = words(key, counters, STREAM_PERMUTATION).reshape(-1, 2)
        parts.append(drawn[:, 0] << 31 | drawn[:, 1] >> 1)
    return torch.cat(parts)[: count * n].view(count, n).argsort(dim=1, stable=True)
