"""Maps of few entries a row on a GPU: launches over whole tensors, and sums that are exact.

Rows meet their places in theta in no order, and a sum of floating numbers depends on its order. So
numbers are added as integers, in units of a power of two that each group's largest number sets.
Their sum is the same in any order, on every GPU.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections.core.projection import Projection
from said_lightning.projections.engines.triton_runs import (
    BEGIN,
    GROUP,
    POSITION,
    TENSOR,
    Kind,
    Part,
    Run,
    Table,
    addresses_of,
    element,
    kinds_of,
    numbers,
    rows_of,
    run_of,
    table_of,
)

TILE = 2048  # rows of a program
WARPS = 4  # with 16 rows a thread accesses are wide, and there is little besides
COPIES, SPREAD = 64, 2**18  # copies of the sums, and their numbers, at most: fewer additions to one
COLUMNS = 256  # sums of a program that adds copies up


class Launch(NamedTuple):
    """Tensors whose views are of the same dtypes: what one launch can serve."""

    dtypes: tuple[torch.dtype, ...]
    table: Table

    def run(
        self,
        kernel: Any,
        addresses: Tensor,
        aligned: bool,
        *given: Any,
        num_warps: int = WARPS,
        **options: Any,
    ) -> None:
        """Start a program of a kernel for each tile; the dtypes of the views are its constants."""
        kernel[(len(self.table.owners),)](
            *self.table[:2], addresses, *given, *map(element, self.dtypes), **options,
            TILE=TILE, ALIGNED=aligned and self.table.aligned, num_warps=num_warps,
        )  # fmt: skip


@lru_cache(maxsize=512)
def launches_of(
    projection: Projection, kinds: tuple[Kind, ...], start: int, device: torch.device
) -> list[Launch]:
    """Split tensors, given from row `start` on, by the dtypes of their views."""
    found: dict[tuple[torch.dtype, ...], list[Run]] = {}
    for index, (name, rows, dtypes, group) in enumerate(kinds):
        run = Run(index, 0, rows, start, projection.keys[name], group)
        found.setdefault(dtypes, []).append(run)
    return [Launch(dtypes, table_of(runs, TILE, device)) for dtypes, runs in found.items()]


class Scatter(NamedTuple):
    """How tensors are pulled back: factors x the sums of scales x gradients, where rows meet.

    kernel: adds to the sums; it is given `given`. most: the most rows that meet in one place.
    """

    kernel: Any
    scales: Float[Tensor, " tensors"]
    factors: Float[Tensor, " d"]
    most: int
    given: tuple[Tensor, ...] = ()
    num_warps: int = WARPS


def pull_back_all(
    scatter: Scatter,
    projection: Projection,
    parts: Sequence[Part],
    groups: Mapping[str, int],
    sums: Float[Tensor, "groups d"],
    start: int,
) -> None:
    """Add P^T grad of many (tensor, grad) to the float64 sums of their groups."""
    addresses, aligned = addresses_of([views for _, *views in parts])
    is_double = any(view.dtype == torch.float64 for _, *views in parts for view in views)
    wide = {"WIDE": tl.float64 if is_double else tl.float32}
    copies = max(1, min(COPIES, SPREAD // sums.numel()))
    peaks, exact = sums.new_zeros((1 + copies, *sums.shape), dtype=torch.int64).split([1, copies])
    headroom, d = scatter.most.bit_length(), sums.shape[1]
    with torch.cuda.device_of(sums):
        launches = launches_of(projection, kinds_of(parts, groups), start, sums.device)
        for launch in launches:
            launch.run(find_peak, addresses, aligned, scatter.scales, peaks, d, **wide)
        for launch in launches:
            given = (scatter.scales, peaks, headroom, exact, copies, sums.numel(), d)
            options = wide | {"num_warps": scatter.num_warps}
            launch.run(scatter.kernel, addresses, aligned, *given, *scatter.given, **options)
        grid = (-(-d // COLUMNS), len(sums))
        _add_up[grid](
            peaks, headroom, exact, copies, sums, scatter.factors, d, **wide, COLUMNS=COLUMNS
        )  # fmt: skip


@triton.jit
@no_type_check
def tile_of(table, owners, TILE: tl.constexpr, ALIGNED: tl.constexpr):
    """Return a program's run, the position of its first row, its rows, and which there are."""
    tile = tl.program_id(0).to(tl.int64)
    run = run_of(table, owners, tile)
    start = (tile - tl.load(run + BEGIN)) * TILE
    at = start + tl.arange(0, TILE)
    return run, tl.load(run + POSITION) + start, at, at < rows_of(run, ALIGNED)


@triton.jit
@no_type_check
def gradient(
    run, addresses, at, inside, scales,
    GRAD: tl.constexpr, WIDE: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    """Read a tile of a gradient, scaled."""
    grad = numbers(run, addresses, 0, 1, GRAD, ALIGNED)
    g = tl.load(grad + at, mask=inside, other=0).to(WIDE)
    return g * tl.load(scales + tl.load(run + TENSOR)).to(WIDE)


@triton.jit(do_not_specialize=["d"])
@no_type_check
def find_peak(
    table, owners, addresses, scales, peaks, d,
    GRAD: tl.constexpr, WIDE: tl.constexpr, TILE: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    """Set a group's peak to the bits of its largest absolute number; a NaN's are above all."""
    run, _, at, inside = tile_of(table, owners, TILE, ALIGNED)
    g = gradient(run, addresses, at, inside, scales, GRAD, WIDE, ALIGNED)
    if tl.float64 == WIDE:
        bits = tl.max(g.to(tl.int64, bitcast=True) & 0x7FFFFFFFFFFFFFFF, 0)
    else:
        bits = tl.max(g.to(tl.int32, bitcast=True) & 0x7FFFFFFF, 0).to(tl.int64)
    peak = peaks + tl.load(run + GROUP) * d
    if bits > tl.load(peak):  # an old value costs a vain addition, no more
        tl.atomic_max(peak, bits, sem="relaxed")


@triton.jit
@no_type_check
def unit(peak, headroom, WIDE: tl.constexpr):
    """Return the power of two that turns numbers to integers below 2^(62 - headroom).

    It is 0 where one of them is infinite or NaN.
    """
    INTEGER: tl.constexpr = tl.int64 if tl.float64 == WIDE else tl.int32
    MANTISSA: tl.constexpr = 52 if tl.float64 == WIDE else 23
    BIAS: tl.constexpr = 1023 if tl.float64 == WIDE else 127
    bits = tl.load(peak)
    exponent = (bits >> MANTISSA) - BIAS
    power = tl.minimum(61 - headroom - exponent, BIAS - 1)
    found = tl.where(exponent <= BIAS, (power + BIAS) << MANTISSA, 0)
    return found.to(INTEGER).to(WIDE, bitcast=True)


@triton.jit
@no_type_check
def entries(words, d):
    """Return the places in theta that words draw, and whether their signs are negative."""
    # The product's high half is one instruction.
    place = ((words & 0xFFFFFFFE).to(tl.uint64) * d.to(tl.uint32)) >> 32
    return place.to(tl.int32), (words & 1) != 0


@triton.jit
@no_type_check
def add(row, words, d, g):
    """Add numbers, cut to integers, to the places of a row of sums that words draw."""
    place, negative = entries(words, d)
    value = tl.where(negative, -g, g).to(tl.int64)
    tl.atomic_add(row + place, value, mask=value != 0, sem="relaxed")


@triton.jit
@no_type_check
def sums_of(run, exact, copies, numel, d):
    """Return a pointer to the sums that a program adds to."""
    return exact + (tl.program_id(0) % copies).to(tl.int64) * numel + tl.load(run + GROUP) * d


@triton.jit(do_not_specialize=["headroom", "copies", "d"])
@no_type_check
def _add_up(
    peaks, headroom, exact, copies, sums, factors, d,
    WIDE: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((COLUMNS,), tl.int64)
    row = exact + group * d
    for _ in range(copies):
        total += tl.load(row + at, mask=at < d, other=0)
        row += tl.num_programs(1) * d
    scale = unit(peaks + group * d, headroom, WIDE).to(tl.float64)
    inverse = tl.where(scale > 0, 1 / tl.where(scale > 0, scale, 1), float("nan"))
    before = tl.load(sums + group * d + at, mask=at < d)
    factor = tl.load(factors + at, mask=at < d)
    tl.store(sums + group * d + at, before + total.to(tl.float64) * inverse * factor, mask=at < d)
