"""Runs: rows of tensors that one launch serves, and how its programs find them.

A launch serves runs of many tensors, since a GPU is done with a small one before Python has asked
for the next. Where runs lie in their tensors is a table that stays on the GPU. The tensors'
addresses go there with each call, from pinned memory and without waiting: those of gradients move.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
import triton
import triton.language as tl
from jaxtyping import Int
from torch import Tensor

# The columns of a table, and of the spans of tiles that programs take.
TENSOR, FIRST, ROWS, BEGIN, POSITION, K0, K1, GROUP = (tl.constexpr(column) for column in range(8))
WIDTH, SPAN = tl.constexpr(8), tl.constexpr(3)
ALIGNED = 16  # what addresses and rows must be multiples of for the widest loads
WARPS = 16 * 132  # of the programs that sum: 16 for each multiprocessor of an H100

# A tensor's name, and the views of it that a kernel reads or writes.
Part = tuple[str, *tuple[Tensor, ...]]
# What of a part decides how it is served: name, rows, dtypes and group.
Kind = tuple[str, int, tuple[torch.dtype, ...], int]


class Run(NamedTuple):
    """Rows of a tensor from `first` on; `position` is where their draws begin."""

    tensor: int
    first: int
    rows: int
    position: int
    key: tuple[int, int]
    group: int


class Table(NamedTuple):
    """Runs on a device, sorted by group, and for each of their tiles the run that it is of.

    `aligned` is whether all rows allow the widest loads.
    """

    rows: Int[Tensor, "runs columns"]
    owners: Int[Tensor, " tiles"]
    aligned: bool
    groups: list[int]


class Spans(NamedTuple):
    """The tiles that each program sums, and which programs' sums go to which group.

    A program has its first tile, where to stop and its step; a group its first program, where they
    stop, and its number.
    """

    programs: Int[Tensor, "programs span"]
    groups: Int[Tensor, "groups span"]


def kinds_of(parts: Sequence[Part], groups: Mapping[str, int]) -> tuple[Kind, ...]:
    """Return what decides how each part is served: parts of the same kinds share tables."""
    return tuple(
        (name, len(views[0]), tuple(view.dtype for view in views), groups[name])
        for name, *views in parts
    )


def element(dtype: torch.dtype) -> Any:
    """Return a dtype as Triton has it."""
    return getattr(tl, str(dtype).removeprefix("torch."))


def signed_words(key: tuple[int, int]) -> tuple[int, int]:
    """Return the words of a key as signed numbers of 32 bits with the same bits."""
    k0, k1 = ((word ^ 2**31) - 2**31 for word in key)
    return k0, k1


def table_of(runs: Sequence[Run], tile: int, device: torch.device) -> Table:
    """Put runs into a table, cut into tiles of `tile` rows."""
    runs = sorted(runs, key=lambda run: run.group)
    tiles = [-(-run.rows // tile) for run in runs]
    begins = np.cumsum([0, *tiles[:-1]])
    lines = []
    for run, begin in zip(runs, begins.tolist(), strict=True):
        words = signed_words(run.key)
        lines.append((run.tensor, run.first, run.rows, begin, run.position, *words, run.group))
    owners = np.repeat(np.arange(len(runs)), tiles)
    return Table(
        torch.tensor(lines).to(device),
        torch.from_numpy(owners.astype(np.int32)).to(device),
        all(run.first % ALIGNED == run.rows % ALIGNED == 0 for run in runs),
        np.repeat([run.group for run in runs], tiles).tolist(),
    )


def spans_of(table: Table, most: int) -> Spans:
    """Deal the tiles of each group out to at most about `most` programs in all.

    No more on a larger GPU, so that every GPU adds in the same order.
    """
    programs: list[tuple[int, int, int]] = []
    groups: list[tuple[int, int, int]] = []
    begin = 0
    for group in dict.fromkeys(table.groups):
        tiles = table.groups.count(group)
        share = min(tiles, max(1, round(most * tiles / len(table.groups))))
        groups.append((len(programs), len(programs) + share, group))
        programs += [(begin + one, begin + tiles, share) for one in range(share)]
        begin += tiles
    device = table.rows.device
    return Spans(torch.tensor(programs).to(device), torch.tensor(groups).to(device))


def addresses_of(views: Sequence[Sequence[Tensor]]) -> tuple[Int[Tensor, "tensors views"], bool]:
    """Send the addresses of each tensor's views to their device without waiting.

    Return with them whether all allow the widest loads.
    """
    places = torch.tensor([[view.data_ptr() for view in both] for both in views])
    aligned = not (places % ALIGNED).any()
    if (device := views[0][0].device).type == "cuda":
        places = places.pin_memory()
    return places.to(device, non_blocking=True), bool(aligned)


@triton.jit
@no_type_check
def run_of(table, owners, tile):
    """Return a pointer to the run that a tile belongs to."""
    return table + tl.load(owners + tile).to(tl.int64) * WIDTH


@triton.jit
@no_type_check
def numbers(run, addresses, view: tl.constexpr, views: tl.constexpr, DTYPE: tl.constexpr,
            ALIGNED: tl.constexpr):  # fmt: skip
    """Return where one of a run's views begins."""
    address = tl.load(addresses + tl.load(run + TENSOR) * views + view)
    place = address.to(tl.pointer_type(DTYPE)) + tl.load(run + FIRST)
    if ALIGNED:
        place = tl.multiple_of(place, 16)
    return place


@triton.jit
@no_type_check
def rows_of(run, ALIGNED: tl.constexpr):
    """Return a run's rows."""
    rows = tl.load(run + ROWS)
    if ALIGNED:
        rows = tl.multiple_of(rows, 16)
    return rows
