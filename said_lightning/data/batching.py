"""Which rows come when: a pure function of (seed, epoch), the same on every machine."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]

# A purpose of its own for each draw, so that no two draws share their random numbers.
SUBSET, ROWS, BATCHES = 1, 2, 3
# Batches whose rows are sorted by length together: padding shrinks, the order stays random.
MEGABATCH = 50


def permutation(n: int, *key: int) -> Indices:
    """Return a random order of 0..n-1 drawn from `key`, integers of 0 or more.

    It sorts the raw output of Philox, which numpy keeps stable over versions, unlike its
    Generator.permutation (numpy's NEP 19).
    """
    return np.argsort(np.random.Philox(np.random.SeedSequence(key)).random_raw(n), kind="stable")


def subset(n: int, limit: int | None) -> Indices:
    """Return at most `limit` of the rows 0..n-1 in ascending order, each subset inside the next."""
    return np.sort(permutation(n, SUBSET)[:limit])


def sorted_batches(lengths: NDArray[np.int64], batch_size: int) -> list[Indices]:
    """Cut all rows into batches by ascending length, for evaluation."""
    return _cut(np.argsort(lengths, kind="stable"), batch_size)


def epoch_batches(
    lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int
) -> list[Indices]:
    """Return an epoch's batches: random rows, of similar length within a batch, in random order.

    Rows are shuffled, cut into MEGABATCH batches' worth, sorted by length inside each, cut into
    batches, and the batches shuffled. Every row comes once; one batch may be shorter.
    """
    rows = permutation(len(lengths), ROWS, seed, epoch)
    batches = [
        batch
        for mega in _cut(rows, MEGABATCH * batch_size)
        for batch in _cut(mega[np.argsort(lengths[mega], kind="stable")], batch_size)
    ]
    return [batches[i] for i in permutation(len(batches), BATCHES, seed, epoch)]


def _cut(rows: Indices, size: int) -> list[Indices]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


class EpochBatches:
    """A DataLoader's sampler of whole batches, whose order is f(seed, epoch).

    Lightning calls `set_epoch` at the start of each epoch. In distributed training it would put a
    sampler of its own in this one's place, so the Trainer needs use_distributed_sampler=False.
    `start` is the epoch and the batch, both from 0, at which a resumed run begins.
    """

    def __init__(
        self,
        lengths: NDArray[np.int64],
        batch_size: int,
        seed: int,
        start: tuple[int, int] = (0, 0),
    ) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self.epoch = start[0]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0) that the next iteration serves."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[Indices]:
        epoch, batch = self.start
        batches = epoch_batches(self.lengths, self.batch_size, self.seed, self.epoch)
        return iter(batches[batch if self.epoch == epoch else 0 :])
