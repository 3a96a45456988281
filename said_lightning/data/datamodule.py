"""The LightningDataModule of every text task, and each process's share of a batch."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from said_lightning.data.batching import EpochBatches, Indices, sorted_batches
from said_lightning.data.examples import Examples
from said_lightning.data.metrics import trivial_score
from said_lightning.data.prompts import prompts_of
from said_lightning.data.readers import read_task
from said_lightning.data.task import TaskConfig
from said_lightning.data.tokens import Encoded, encode
from said_lightning.errors import UserError

Batch = dict[str, Tensor]
WEIGHT = "weight"  # the key of a share's weight beside its tensors


class Share(Dataset[dict[str, Tensor | float]]):
    """A split by whole batches, of which one of `processes` gets every `processes`-th row, padded.

    Each row of a batch is in one share. Shares may differ by a row, so a share says its "weight":
    its rows over the mean of all shares. The mean over the shares of weight x (mean over the
    share's rows) is then the mean over the batch. Where a batch has too few rows for all, a share
    without any holds the batch's first one as a stand-in, with the weight 0.
    """

    def __init__(
        self,
        rows: Encoded,
        pad: Callable[[list[dict[str, Any]]], Any],
        rank: int,
        processes: int,
    ) -> None:
        self.rows = rows
        self.pad = pad
        self.rank = rank
        self.processes = processes

    def __getitem__(self, batch: Indices) -> dict[str, Tensor | float]:
        mine = batch[self.rank :: self.processes]
        weight = self.processes * len(mine) / len(batch)
        return {**self.pad(self.rows[mine if len(mine) else batch[:1]]), WEIGHT: weight}


def rows_of(loader: DataLoader[Any]) -> Encoded:
    """Return the rows that a loader serves, a share of them or all."""
    source: Any = loader.dataset
    rows: Encoded = source.rows if isinstance(source, Share) else source
    return rows


class TextDataModule(LightningDataModule):
    """A task's batches as models of transformers take them, labels under "labels".

    `setup` reads and tokenises the data; it raises UserError with every mistake in them. Then
    `data` holds the examples as text and their sha256; `train_set`, `select_sets` and `report_sets`
    their tokens: to train on, to evaluate after each epoch, and after the last one. The headline's
    set comes first in either; they are the same where one split selects and reports.
    Batches are padded to their longest row: input_ids [batch, tokens] and so on; labels [batch],
    long for classes and float for scores. The training order is f(seed, epoch); `start`, the epoch
    and the batch at which training begins, is set before a resumed run asks for batches.

    Where a Trainer runs several processes, `batch_size` rows are for each of them: together they
    see the batches of one process with `processes x batch_size` rows, each its Share.
    """

    def __init__(
        self,
        task: TaskConfig,
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        workers: int = 0,
    ) -> None:
        super().__init__()
        if task.max_length > tokenizer.model_max_length:
            raise UserError(
                f"task.max_length={task.max_length}: this model takes at most "
                f"{tokenizer.model_max_length} tokens"
            )
        self.task = task
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self.workers = workers
        self.start = (0, 0)

    def setup(self, stage: str = "fit") -> None:
        """Read, check and tokenise all splits, the first time it is called."""
        if hasattr(self, "data"):
            return
        data = read_task(self.task)
        self.prompts = prompts_of(self.task, self.tokenizer)

        def encoded(rows: Examples) -> Encoded:
            return encode(rows, self.tokenizer, self.task.max_length, self.prompts)

        self.train_set = encoded(data.train)
        self.report_sets = [encoded(rows) for rows in (data.report, *data.also.values())]
        self.select_sets = self.report_sets
        if data.parts.held_out:
            self.select_sets = [encoded(data.select)]
        self.data = data

    def trivial(self, rows: Encoded) -> float:
        """Return the headline metric of the best constant answer to some rows."""
        return trivial_score(self.task.metric, rows.labels.tolist())

    def train_dataloader(self) -> DataLoader[list[Batch]]:
        """Return the training batches: random order, similar lengths, the short last one kept."""
        size = self.batch_size * self._processes
        order = EpochBatches(self.train_set.lengths, size, self.seed, self.start)
        return self._loader(self.train_set, order)

    def val_dataloader(self) -> list[DataLoader[list[Batch]]]:
        """Return the batches of each set to evaluate after an epoch, by ascending length."""
        return [self.in_order(rows) for rows in self.select_sets]

    def in_order(self, rows: Encoded) -> DataLoader[list[Batch]]:
        """Return all batches of a split by ascending length, to evaluate on them."""
        size = self.eval_batch_size * self._processes
        return self._loader(rows, sorted_batches(rows.lengths, size))

    @property
    def _processes(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    def _loader(self, rows: Encoded, batches: Iterable[Indices]) -> DataLoader[list[Batch]]:
        source: Dataset[Any] = rows
        collate: Callable[[Any], Any] = DataCollatorWithPadding(self.tokenizer)
        if self.trainer and self._processes > 1:
            source = Share(rows, collate, self.trainer.global_rank, self._processes)
            collate = dict  # a share is padded already
        return DataLoader(
            source,
            sampler=batches,
            batch_size=None,
            collate_fn=collate,
            num_workers=self.workers,
            # A loader draws a number at each start, which must not come out of the dropout's.
            generator=torch.Generator(),
        )
