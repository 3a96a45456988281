"""Order is f(seed, epoch) and nothing else; subsets are the same in every run."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from said_lightning.data.batching import (
    MEGABATCH,
    EpochBatches,
    epoch_batches,
    permutation,
    sorted_batches,
    subset,
)
from said_lightning.data.readers import read_task

LENGTHS = np.arange(1000, dtype=np.int64) % 37


def flat(seed: int, epoch: int) -> list[int]:
    """Return an epoch's rows in order."""
    return np.concatenate(epoch_batches(LENGTHS, 16, seed, epoch)).tolist()


def test_order_depends_on_seed_and_epoch_alone() -> None:
    np.random.seed(1)
    first = flat(0, 0)
    np.random.seed(2)
    assert flat(0, 0) == first
    orders = [flat(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9


def test_the_order_is_pinned() -> None:
    """A change here would change the result of every config without changing its hash."""
    assert permutation(8, 2, 0, 0).tolist() == [6, 4, 7, 0, 5, 2, 1, 3]
    assert [batch.tolist() for batch in epoch_batches(LENGTHS[:6], 2, 0, 1)] == [
        [4, 5],
        [0, 1],
        [2, 3],
    ]


@given(n=st.integers(1, 3000), size=st.integers(1, 20), seed=st.integers(0, 2**40))
def test_every_row_comes_once_and_one_batch_may_be_short(n: int, size: int, seed: int) -> None:
    lengths = np.arange(n, dtype=np.int64) % 11
    batches = epoch_batches(lengths, size, seed, 0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(n))
    assert sorted(map(len, batches))[1:] == [size] * (len(batches) - 1)
    assert len(EpochBatches(lengths, size, seed)) == len(batches)


def test_rows_of_a_batch_are_of_similar_length_and_batches_come_in_no_order() -> None:
    lengths = np.arange(16 * MEGABATCH, dtype=np.int64)
    batches = epoch_batches(lengths, 16, 0, 0)
    assert all(np.ptp(lengths[batch]) == 15 for batch in batches)
    starts = [int(batch.min()) for batch in batches]
    assert starts != sorted(starts)


def test_the_sampler_serves_the_epoch_it_was_set_to() -> None:
    sampler = EpochBatches(LENGTHS, 16, 5)
    for epoch in (0, 3):
        sampler.set_epoch(epoch)
        assert np.concatenate(list(sampler)).tolist() == flat(5, epoch)


def test_evaluation_batches_ascend() -> None:
    batches = sorted_batches(LENGTHS, 16)
    assert LENGTHS[np.concatenate(batches)].tolist() == sorted(LENGTHS)


def test_subsets_are_nested_random_and_in_order() -> None:
    small, large = subset(1000, 10).tolist(), subset(1000, 300).tolist()
    assert set(small) < set(large)
    assert large == sorted(large)
    assert max(large) > 900
    assert subset(5, None).tolist() == subset(5, 99).tolist() == list(range(5))


def test_limits_keep_a_fixed_subset_of_the_original_files(make_task: Any, glue: Path) -> None:
    whole = read_task(make_task("cola", data_dir=str(glue)))
    limits = {"train_limit": 50, "eval_limit": 20}
    first, again = (read_task(make_task("cola", data_dir=str(glue), **limits)) for _ in range(2))
    assert (len(first.train), len(first.report)) == (50, 20)
    assert list(first.train) == list(again.train)
    assert first.sha256 != whole.sha256
    assert {text for text, _ in first.train} < {text for text, _ in whole.train}
