"""Fastfood on a GPU: one fused pass over many tensors, all randomness on the fly.

A program reads a tile of rows, transforms it in registers and shared memory and writes it; nothing
of a tensor's length is allocated. `write` adds in the reference's order and gives its bits;
`pull_back` adds in a fixed order and gives the same bits every time. Blocks that are too long for
one program are left to `triton_long`.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections.engines import triton_fastfood as kernels
from said_lightning.projections.engines import triton_long
from said_lightning.projections.engines.triton_fold import add_up, fold, unfold
from said_lightning.projections.engines.triton_random import magnitudes
from said_lightning.projections.engines.triton_runs import (
    WARPS,
    Kind,
    Part,
    Run,
    Spans,
    Table,
    addresses_of,
    element,
    kinds_of,
    signed_words,
    spans_of,
    table_of,
)
from said_lightning.projections.fastfood import Fastfood, order

MIXED = True  # kernels read and write any floating dtype
TILE = 1024  # rows of a program where blocks are shorter
LONGEST = 2**14  # block of one program: 32 numbers a thread, 64 KB of shared memory for Pi
SUMS = torch.float64  # what sums over programs are formed in


class Launch(NamedTuple):
    """The runs of one order and of views of the same dtypes: what one launch can serve."""

    r: int
    dtypes: tuple[torch.dtype, ...]
    runs: list[Run]
    table: Table
    spans: Spans
    scales: dict[torch.dtype, Float[Tensor, ""]]
    bank: Tensor
    inverse_bank: Tensor
    options: dict[str, Any]


def write_all(
    projection: Fastfood,
    parts: Sequence[Part],
    groups: Mapping[str, int],
    thetas: Float[Tensor, "groups d"],
    start: int,
) -> None:
    """Set out = base + P theta for many (tensor, out, base), each with its group's theta.

    Each is given from row `start` on. `out` and `base` may be of any floating dtypes, and the same
    memory; they are added in theta's dtype.
    """
    addresses, aligned = addresses_of([views for _, *views in parts])
    x = torch.nn.functional.pad(thetas, (0, projection.n - projection.d))
    with torch.cuda.device_of(thetas):
        for launch in _launches(projection, kinds_of(parts, groups), start, thetas.device):
            r, is_whole = launch.r, launch.r == projection.n
            scale = launch.scales[x.dtype]
            folded = x if is_whole else fold(x, r, launch.table, scale)
            if r > LONGEST:
                for number, (out, base), position, draws in _long(launch, parts):
                    mine = x[launch.runs[number].group] * scale if is_whole else folded[number]
                    triton_long.write(out, base, mine, r, is_whole, position, draws)
            else:
                kernels.write[(len(launch.table.owners),)](
                    *launch.table[:2], addresses, folded, scale, magnitudes(x.device),
                    launch.bank, *map(element, launch.dtypes), **launch.options,
                    ALIGNED=aligned and launch.table.aligned,
                )  # fmt: skip


def pull_back_all(
    projection: Fastfood,
    parts: Sequence[Part],
    groups: Mapping[str, int],
    sums: Float[Tensor, "groups d"],
    start: int,
) -> None:
    """Add P^T grad of many (tensor, grad), given from row `start` on, to the sums of their groups.

    Butterflies and a program's sums are in float32, or float64 for float64; the sum over all
    programs is in float64.
    """
    addresses, aligned = addresses_of([views for _, *views in parts])
    with torch.cuda.device_of(sums):
        for launch in _launches(projection, kinds_of(parts, groups), start, sums.device):
            if launch.r > LONGEST:
                pieces = [
                    triton_long.pull_back(grad, launch.r, launch.r == projection.n, first, draws)
                    for _, (grad,), first, draws in _long(launch, parts)
                ]
                rows = torch.stack(pieces)
            else:
                rows = _pull_back_tiles(launch, addresses, aligned)
            given = (launch.spans, launch.scales[SUMS], sums)
            if launch.r == projection.n:
                add_up(rows, *given)
            else:
                unfold(rows, launch.table, projection.n, *given)


def _pull_back_tiles(
    launch: Launch, addresses: Tensor, aligned: bool
) -> Float[Tensor, "programs r"]:
    """Return the sum of each program's tiles; where B is a run's own, each has one tile, a run."""
    (dtype,) = launch.dtypes
    programs = launch.spans.programs
    wide = torch.promote_types(dtype, torch.float32)
    rows = programs.new_empty((len(programs), launch.r), dtype=wide)
    kernels.pull_back[(len(programs),)](
        *launch.table[:2], addresses, programs, rows, magnitudes(rows.device),
        launch.inverse_bank, element(dtype), **launch.options,
        ALIGNED=aligned and launch.table.aligned,
    )  # fmt: skip
    return rows


@lru_cache(maxsize=512)
def _launches(
    projection: Fastfood, kinds: tuple[Kind, ...], start: int, device: torch.device
) -> list[Launch]:
    """Split tensors, given from row `start` on, into runs, and these into launches.

    The same tensors come together in every step.
    """
    found: dict[tuple[int, tuple[torch.dtype, ...]], list[Run]] = {}
    n = projection.n
    for index, (tensor, rows, dtypes, group) in enumerate(kinds):
        rest = rows % n
        whole = rows - rest if rest and order(rest) < n else rows
        for first, last, r in ((0, whole, n), (whole, rows, order(rest))):
            if first < last:
                key = projection.keys[tensor]
                run = Run(index, first, last - first, start + first, key, group)
                found.setdefault((r, dtypes), []).append(run)
    return [_launch(projection, *kind, runs, device) for kind, runs in found.items()]


def _launch(
    projection: Fastfood,
    r: int,
    dtypes: tuple[torch.dtype, ...],
    runs: list[Run],
    device: torch.device,
) -> Launch:
    is_whole = r == projection.n
    tile = (max(r, TILE) if r <= LONGEST else max(r, triton_long.BUFFER)) if is_whole else r
    warps = warps_of(tile)
    runs = sorted(runs, key=lambda run: run.group)
    table = table_of(runs, tile, device)
    most = WARPS // warps if is_whole and r <= LONGEST else len(table.groups)
    bank = slice(projection.begin(r), projection.begin(2 * r))
    short = torch.int16 if r <= LONGEST else torch.int32
    scale = torch.tensor(projection.scale(r), dtype=SUMS).to(device)
    options = {
        "TILE": tile,
        "BITS": r.bit_length() - 1,
        "FLIP": is_whole,
        "num_warps": warps,
        "enable_fp_fusion": False,  # a fused multiply-add rounds otherwise than the reference
    }
    return Launch(
        r,
        dtypes,
        runs,
        table,
        spans_of(table, most),
        {dtype: scale.to(dtype) for dtype in (torch.float32, torch.float64)},
        projection.banks[bank].to(device, short),
        projection.inverse_banks[bank].to(device, short),
        options,
    )


def _long(
    launch: Launch, parts: Sequence[Part]
) -> Iterator[tuple[int, list[Tensor], int, triton_long.Draws]]:
    """Split runs into what one call of `triton_long` can do: run, rows, position, draws."""
    step = launch.options["TILE"]
    for number, run in enumerate(launch.runs):
        views = [view[run.first :][: run.rows] for view in parts[run.tensor][1:]]
        draws = (magnitudes(views[0].device), launch.bank, *signed_words(run.key))
        for first in range(0, run.rows, step):
            piece = [view[first : first + step] for view in views]
            yield number, piece, run.position + first, draws


def warps_of(tile: int) -> int:
    """Return the warps of a program.

    16 numbers a thread leave registers for several programs on a multiprocessor. With a single warp
    Pi would become a shuffle for each 32 numbers of the tile, not one pass through shared memory.
    """
    return min(16, max(2, tile // 512))
