"""Runs: the rows of a tensor whose blocks are of one order, and how a launch finds them.

A launch serves the runs of many tensors, since a GPU is done with a small one before Python has
asked for the next. It reads where they lie from a table on the GPU, one row for each run.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, no_type_check

import numpy as np
import torch
import triton
import triton.language as tl
from jaxtyping import Int
from torch import Tensor

from said_lightning.projections.fastfood import Fastfood, order

# The columns of a table; the addresses of the run's numbers follow.
BEGIN, POSITION, ROWS, K0, K1, ADDRESS = (tl.constexpr(column) for column in range(6))
COLUMNS = tl.constexpr(8)
ALIGNED = 16  # what addresses and rows must be multiples of for the widest loads
SUMS = torch.float64  # what sums over runs and programs are formed in

# A tensor's name, and the views of it that a kernel reads or writes.
Part = tuple[str, Tensor, *tuple[Tensor, ...]]


class Run(NamedTuple):
    """Rows `first` to `last` of a tensor's views; `position` is where the draws of `first` are."""

    first: int
    last: int
    position: int
    key: tuple[int, int]
    views: tuple[Tensor, ...]

    def parts(self) -> list[Tensor]:
        """Return the rows themselves."""
        return [view[self.first : self.last] for view in self.views]


# Runs of one order whose views are of the same dtypes: what one launch can serve.
Kinds = dict[tuple[int, tuple[torch.dtype, ...]], list[Run]]


def runs_of(projection: Fastfood, parts: Iterable[Part], start: int) -> Kinds:
    """Split tensors, given from row `start` on, into runs, by order and dtypes."""
    found: Kinds = {}
    n = projection.n
    for tensor, *views in parts:
        rows = len(views[0])
        rest = rows % n
        whole = rows - rest if rest and order(rest) < n else rows
        k0, k1 = ((word ^ 2**31) - 2**31 for word in projection.keys[tensor])
        dtypes = tuple(view.dtype for view in views)
        for first, last, r in ((0, whole, n), (whole, rows, order(rest))):
            if first < last:
                run = Run(first, last, start + first, (k0, k1), tuple(views))
                found.setdefault((r, dtypes), []).append(run)
    return found


class Table(NamedTuple):
    """A table of runs, whether their addresses and rows allow the widest loads, and all tiles."""

    rows: Int[Tensor, "runs columns"]
    aligned: bool
    tiles: int


def table_of(runs: Sequence[Run], tile: int) -> Table:
    """Put runs into a table on their device, cut into tiles of `tile` rows."""
    lines, tiles = [], 0
    for run in runs:
        rows = run.last - run.first
        at = [view.data_ptr() + run.first * view.element_size() for view in run.views]
        lines.append((tiles, run.position, rows, *run.key, *at))
        tiles += -(-rows // tile)
    return Table(*_table(tuple(lines), runs[0].views[0].device), tiles)


# Weights stay where they are, and gradients mostly come to lie where they lay a step before.
@lru_cache(maxsize=1024)
def _table(
    lines: tuple[tuple[int, ...], ...], device: torch.device
) -> tuple[Int[Tensor, "runs columns"], bool]:
    """Return the table of lines on a device, and whether it allows the widest loads."""
    table = np.zeros((len(lines), COLUMNS.value), np.int64)
    for row, line in zip(table, lines, strict=True):
        row[: len(line)] = line
    aligned = not (table[:, [ROWS.value, *range(ADDRESS.value, COLUMNS.value)]] % ALIGNED).any()
    return torch.from_numpy(table).to(device), aligned


@triton.jit
@no_type_check
def find(table, count, tile):
    """Find the run that a tile belongs to, the last that begins at it or before: its row."""
    low, high = tile * 0, tile * 0 + count
    while high - low > 1:
        middle = (low + high) // 2
        before = tl.load(table + middle * COLUMNS + BEGIN) <= tile
        low, high = tl.where(before, middle, low), tl.where(before, high, middle)
    return table + low * COLUMNS


@triton.jit
@no_type_check
def numbers(run, view: tl.constexpr, DTYPE: tl.constexpr, ALIGNED: tl.constexpr):
    """Return where one of a run's views lies."""
    address = tl.load(run + ADDRESS + view)
    if ALIGNED:
        address = tl.multiple_of(address, 16)
    return address.to(tl.pointer_type(DTYPE))


@triton.jit
@no_type_check
def rows_of(run, ALIGNED: tl.constexpr):
    """Return a run's rows."""
    rows = tl.load(run + ROWS)
    if ALIGNED:
        rows = tl.multiple_of(rows, 16)
    return rows
