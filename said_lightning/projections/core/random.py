"""Counter-based randomness: every draw is a pure function of (seed, tensor name, position).

Everything random in P comes from here: Philox 4x32-10 (Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3"), the normal quantiles and the keyed permutation. All of it is integer
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

# The streams keep the draws of one tensor apart: the third word of the counter.
STREAM_ROWS, STREAM_PERMUTATION = 0, 1

HALVES = 8  # half-words of a counter
QUANTILES = 4096  # magnitudes of a normal draw; with the sign 8,192 equally likely values
NORMAL_SIGN, SIGN = 12, 13  # the bits of a half-word that are the signs of G and B
COUNTERS = 4  # counters reserved for one permutation; the words of at most three are used


def key(seed: int, tensor: str, purpose: str) -> tuple[int, int]:
    """Return the two 32-bit key words for a tensor: the first 8 bytes of a BLAKE2b hash."""
    digest = hashlib.blake2b(f"{seed}\0{purpose}\0{tensor}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def philox(key: tuple[int, int], counter: Int[Tensor, "4 draws"]) -> Int[Tensor, "4 draws"]:
    """Encrypt 128-bit counters by Philox 4x32-10, as 32-bit words held in int64."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
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
    drawn = words(key, counters + first // HALVES, STREAM_ROWS)
    return torch.stack((drawn & 0xFFFF, drawn >> 16), dim=-1).reshape(-1)[:count]


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


def rounds(n: int) -> int:
    """Return the rounds of a permutation of n numbers.

    With fewer, the XOR of four values is not uniform: 5 show it at n = 64 within 2,000,000
    permutations (3 at n = 1024), 8 at n = 16 within 400,000.
    """
    return 6 if n >= 64 else 10


def permutations(
    key: tuple[int, int],
    first: int,
    blocks: int,
    n: int,
    columns: int,
    device: torch.device | None = None,
) -> Int[Tensor, "blocks columns"]:
    """Return the first values of the permutations of 0..n-1 of blocks, n = 2^k >= 16.

    A keyed bijection on k bits: each round multiplies by an odd number and adds (low bits move up),
    then XORs the low half with a multiply-shift hash of the high half (high bits move down). Up to
    n = 2^16 the hash is 16-bit arithmetic, which fits twice as many lanes of a vector unit, and a
    round's key is the two halves of a word; above, it is 32-bit arithmetic and two words.
    """
    counters = torch.arange(blocks * COUNTERS, dtype=torch.int64, device=device)
    drawn = words(key, counters + first * COUNTERS, STREAM_PERMUTATION)
    drawn = drawn.reshape(blocks, 4 * COUNTERS, 1)
    width, low = 16 if n <= 2**16 else 32, (n.bit_length() - 1) // 2
    x = torch.arange(min(n, columns), dtype=torch.int64, device=device)
    for index in range(rounds(n)):
        if width == 16:
            a, c = drawn[:, index] & 0xFFFF, drawn[:, index] >> 16
        else:
            a, c = drawn[:, 2 * index], drawn[:, 2 * index + 1]
        x = (x * (a | 1) + c) & (n - 1)
        x = x ^ ((((x >> low) * (c | 1) + a) & ((1 << width) - 1)) >> (width - low))
    return x
