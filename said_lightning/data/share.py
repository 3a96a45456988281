"""What one of several processes serves of each batch."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from said_lightning.data.batching import Indices
from said_lightning.data.tokens import Encoded

WEIGHT = "weight"


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
