"""Fastfood's kernels on the CPU, over turns of blocks counted through many tensors.

Tensors come as addresses, sizes, each one's last turn and keys. `begins` holds where the bank of
order 2^(4 + i) begins in the banks, at i.
"""

from typing import Any, no_type_check

import numpy as np
from numba import njit, prange

from said_lightning.projections.core.random import MASK, SIGN, STREAM_ROWS
from said_lightning.projections.engines.numba_hadamard import LANES, hadamard
from said_lightning.projections.engines.numba_random import half_words, normals
from said_lightning.projections.engines.numba_tasks import SEEN, untouched
from said_lightning.projections.engines.numba_vector import Memory, array_at, kernel, tile
from said_lightning.projections.fastfood import BANK, SMALLEST

CHUNK = 1024  # rows of a task's turn at least


@kernel
@no_type_check
def write(tasks, outs, sizes, last, keys, table, bases, turns, x, scales, banks, begins, first):
    """Set out = base + P x in some turns; draws count from `first` on."""
    n = len(x)
    step = max(n, CHUNK)
    for task in prange(tasks):
        halves = np.empty(step, np.uint16)
        u, w = np.empty_like(x), np.empty_like(x)
        for index in range(task, len(turns), tasks):
            i, start = _turn(turns[index], last, step)
            k0, k1, rows = keys[i, 0], keys[i, 1], sizes[i]
            out, base = array_at(outs[i], rows, x), array_at(bases[i], rows, x)
            half_words(k0, k1, first + start, halves, STREAM_ROWS)
            for block in range(start, min(start + step, rows), n):
                left = min(n, rows - block)
                r = _order(left)
                variant = _variant(k0, k1, (first + block) // r, r, begins)
                scale = scales[_bits(r)]
                _forward(x, scale, r, halves, block - start, banks, variant, table, u, w)
                _add_rows(out, base, block, w, left)


@njit
@no_type_check
def _turn(turn, last, step):
    """Return the tensor of a turn, counted through all tensors, and the turn's first row."""
    i = np.searchsorted(last, turn, side="right")
    return i, (turn - (last[i - 1] if i else 0)) * step


@njit
@no_type_check
def _forward(x, scale, r, halves, h, banks, variant, table, u, w):
    """Set w[:r] = H G Pi H B x scale, the half-words being those from halves[h] on."""
    half = len(x)
    for j in range(0, half, LANES):
        _sign(u, x, scale, j, halves, h + j)
    while half > r:
        half //= 2
        for j in range(0, half, LANES):
            _fold(u, j, half)
    hadamard(u, r)
    begin, turn, factor = variant
    for i in range(0, r, LANES):
        _mix(w, i, u, banks, begin + (i * factor + turn) % r, halves, h + i, table)
    hadamard(w, r)


@kernel
@no_type_check
def pull_back(tasks, grads, sizes, last, keys, table, empty, sums, banks, begins, first):
    """Set each task's sums to P^T of the gradients in its turns, of the dtype of `empty`."""
    n = sums.shape[1]
    step = max(n, CHUNK)
    for task in prange(tasks):
        sums[task] = 0
        halves = np.empty(step, np.uint16)
        u, w = np.empty(n, empty.dtype), np.empty(n, empty.dtype)
        bits = np.empty(SEEN, empty.dtype)
        for turn in range(task, last[-1], tasks):
            i, start = _turn(turn, last, step)
            k0, k1, rows = keys[i, 0], keys[i, 1], sizes[i]
            grad = array_at(grads[i], rows, empty)
            if untouched(grad, start, min(step, rows - start), bits):
                continue
            half_words(k0, k1, first + start, halves, STREAM_ROWS)
            for block in range(start, min(start + step, rows), n):
                left = min(n, rows - block)
                r = _order(left)
                variant = _variant(k0, k1, (first + block) // r, r, begins)
                _copy_rows(w, grad, block, left, r)
                if r < n:  # the sums are scaled for blocks of order n
                    w[:r] *= w.dtype.type(np.sqrt(n / r))
                _backward(w, r, halves, block - start, banks, variant, table, u)
                for j in range(0, n, LANES):
                    _accumulate(sums[task], j, u, j % r, halves, block - start + j)


@njit
@no_type_check
def _backward(w, r, halves, h, banks, variant, table, u):
    """Set u[:r] = H Pi^T G H w[:r]."""
    hadamard(w, r)
    for j in range(0, r, LANES):
        _weigh(w, j, halves, h + j, table)
    begin, turn, factor = variant
    inverse, top = _inverse(np.uint32(factor)), np.uint32(r - 1)
    for i in range(0, r, LANES):
        _take(u, i, w, banks, begin + i, np.uint32(turn), inverse, top)
    hadamard(u, r)


@njit
@no_type_check
def _variant(k0, k1, block, r, begins):
    """Return where a block's sigma begins in the banks, and c (in numbers) and a of its p."""
    drawn = (np.uint64(k0) + np.uint64(block) * np.uint64(k1 | 1)) & np.uint64(MASK)
    drawn *= np.uint64(max(BANK, r) // SMALLEST)
    offset = np.int64(drawn >> np.uint64(32)) * SMALLEST
    factor = (drawn & np.uint64(MASK)) * np.uint64(r // SMALLEST) >> np.uint64(32) | np.uint64(1)
    return begins[_bits(r)] + offset // r * r, offset % r, np.int64(factor)


@njit
@no_type_check
def _inverse(odd):
    """Invert an odd number modulo 2^32: it is its own inverse modulo 8, and each step doubles."""
    x = odd
    for _ in range(4):
        x = np.uint32(x * np.uint32(np.uint32(2) - np.uint32(odd * x)))
    return x


@njit
@no_type_check
def _bits(r):
    """Return how many times an order is the smallest one doubled."""
    bits = 0
    while SMALLEST << bits < r:
        bits += 1
    return bits


@njit
@no_type_check
def _order(rows):
    r = SMALLEST
    while r < rows:
        r *= 2
    return r


@njit
@no_type_check
def _add_rows(out, base, start, w, rows):
    """Set out[start : start + rows] = base[...] + w[:rows]."""
    whole = rows // LANES * LANES
    for j in range(0, whole, LANES):
        _add(out, base, start + j, w, j)
    for j in range(whole, rows):
        out[start + j] = base[start + j] + w[j]


@njit
@no_type_check
def _copy_rows(w, grad, start, rows, r):
    """Set w[:r] = grad[start : start + rows] and zeros."""
    whole = rows // LANES * LANES
    for j in range(0, whole, LANES):
        _copy(w, j, grad, start + j)
    for j in range(whole, r):
        w[j] = grad[start + j] if j < rows else 0


@tile
def _copy(builder: Any, w: Memory, j: Any, grad: Memory, at: Any) -> None:
    w.store(j, grad.load(at, LANES))


@tile
def _add(builder: Any, out: Memory, base: Memory, at: Any, w: Memory, j: Any) -> None:
    out.store(at, base.load(at, LANES) + w.load(j, LANES))


@tile
def _sign(builder: Any, u: Memory, x: Memory, scale: Any, j: Any, halves: Memory, h: Any) -> None:
    """Apply B."""
    u.store(j, (x.load(j, LANES) * scale).flipped(halves.load(h, LANES), SIGN))


@tile
def _fold(builder: Any, u: Memory, j: Any, half: Any) -> None:
    """Add the second half of twice `half` numbers to the first."""
    u.store(j, u.load(j, LANES) + u.load(builder.add(half, j), LANES))


@tile
def _mix(
    builder: Any,
    w: Memory,
    j: Any,
    u: Memory,
    banks: Memory,
    at: Any,
    halves: Memory,
    h: Any,
    table: Memory,
) -> None:
    """Apply Pi, then G."""
    weights = normals(halves.load(h, LANES), table, u.element)
    w.store(j, u.gather(banks.load(at, LANES)) * weights)


@tile
def _weigh(builder: Any, w: Memory, j: Any, halves: Memory, h: Any, table: Memory) -> None:
    """Apply G."""
    w.store(j, w.load(j, LANES) * normals(halves.load(h, LANES), table, w.element))


@tile
def _take(
    builder: Any,
    u: Memory,
    j: Any,
    w: Memory,
    banks: Memory,
    at: Any,
    turn: Any,
    inverse: Any,
    top: Any,
) -> None:
    """Apply the transpose of Pi."""
    place = banks.load(at, LANES) - turn
    group = (place & -SMALLEST) * inverse & top
    u.store(j, w.gather(group | (place & (SMALLEST - 1))))


@tile
def _accumulate(
    builder: Any, sums: Memory, j: Any, u: Memory, i: Any, halves: Memory, h: Any
) -> None:
    """Apply B and add up in the sums' wider type."""
    signed = u.load(i, LANES).flipped(halves.load(h, LANES), SIGN)
    sums.store(j, sums.load(j, LANES) + signed.converted(sums.element))
