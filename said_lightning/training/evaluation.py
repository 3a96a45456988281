"""The answers to whole sets of rows: after each epoch, and to the report rows after the last."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from said_lightning.data.datamodule import TextDataModule, rows_of
from said_lightning.data.metrics import predictions
from said_lightning.data.scores import row_scores, score
from said_lightning.data.task import TaskConfig, also_evaluated
from said_lightning.training.checkpointing import Saver
from said_lightning.training.journal import Journal

# How numbers are logged that every process has alike.
EXACT: dict[str, Any] = {"sync_dist": True, "batch_size": 1, "on_step": False, "on_epoch": True}


class Answered:
    """The answers to a set's rows in the order of the data, whichever process gives them.

    `values` holds class ids or numbers; each process adds its shares of the batches.
    """

    def __init__(self, trainer: Trainer, loader: DataLoader[Any]) -> None:
        self.trainer = trainer
        self.batches: Any = loader.sampler
        self.labels = rows_of(loader).labels
        self.values = torch.zeros(len(self.labels), device=trainer.strategy.root_device)

    def add(self, number: int, logits: Float[Tensor, "share outputs"]) -> None:
        """Keep the answers to this process's share of the batch with this number.

        An answer is NaN where a logit is not finite, so that no class id stands for it.
        """
        answers = predictions(logits).float()
        answers = answers.masked_fill(~logits.isfinite().all(dim=1), torch.nan)
        mine = self.batches[number][self.trainer.global_rank :: self.trainer.world_size]
        # A share without any row holds a stand-in, whose answer is nobody's.
        places = torch.from_numpy(mine).to(self.values.device)
        self.values[places] = answers[: len(mine)]

    def whole(self) -> Float[np.ndarray, " rows"]:
        """Return all answers; every process asks for them at once, and once."""
        if self.trainer.world_size > 1:
            self.values = self.trainer.strategy.reduce(self.values, reduce_op="sum")
        return self.values.cpu().numpy()


def scored(task: TaskConfig, part: str, sets: Sequence[Answered]) -> dict[str, Tensor]:
    """Return the metrics of the sets of a part, as `part/metric`, or `part/name/metric` of others.

    The headline's set comes first, then those that are reported beside it. A metric is NaN where
    any answer is, and there alone: those that are not defined are 0.
    """
    found = {}
    for name, one in zip(("", *also_evaluated(task)), sets, strict=False):
        start, answers = f"{part}/{name}/" if name else f"{part}/", one.whole()
        for metric in task.metrics:
            value = math.nan
            if np.isfinite(answers).all():
                value = score(metric, answers, one.labels, task.num_labels)
            found[start + metric] = torch.tensor(value, dtype=torch.float64)
    return found


class Report(Callback):
    """Answers the report rows once, by the weights after the last epoch, and keeps the answers.

    A run whose d grows answers them after each epoch, the last one of its d. Where the split that
    selects reports too, the answers of the best epoch are kept in place of any of its own. They are
    in a state, as the step that a state comes after is.
    """

    def __init__(self, data: TextDataModule, journal: Journal, saver: Saver, growing: bool) -> None:
        self.data = data
        self.journal = journal
        self.saver = saver
        self.growing = growing
        self.answers: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the answers, None before there are any."""
        return {"answers": self.answers}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the answers of an interrupted run."""
        self.answers = state_dict["answers"]

    @property
    def row_scores(self) -> Float[np.ndarray, " rows"] | None:
        """The score of each report row; None before they are answered."""
        if self.answers is None:
            return None
        task, labels = self.data.task, self.data.report_sets[0].labels
        return row_scores(task.metric, self.answers.numpy(), labels, task.num_labels)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Look at the epoch; comes after what ends training, and before what saves."""
        if not self.data.data.parts.held_out:
            best = self.journal.best
            if best is not None and best.epoch == trainer.current_epoch + 1:
                self.keep(pl_module.answered[0])
            return
        last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        if last or self.growing:
            sets = [self.answer(trainer, pl_module, rows) for rows in self.data.report_sets]
            found = scored(self.data.task, "report", sets)
            self.journal.report(trainer, {name: float(value) for name, value in found.items()})
            self.keep(sets[0])

    def keep(self, one: Answered) -> None:
        """Keep the answers to a set."""
        self.answers = one.values.cpu().clone()

    def answer(self, trainer: Trainer, pl_module: Any, rows: Any) -> Answered:
        """Answer all rows of a set, as an evaluation of Lightning's does."""
        loader = self.data.in_order(rows)
        found, precision = Answered(trainer, loader), trainer.precision_plugin
        with torch.no_grad(), evaluating(pl_module):
            for number, batch in enumerate(loader):
                moved = trainer.strategy.batch_to_device(precision.convert_input(batch))
                with precision.val_step_context():
                    found.add(number, pl_module.output(moved).logits.float())
                self.saver.on_validation_batch_end(trainer, pl_module)
        return found


@contextmanager
def evaluating(module: LightningModule) -> Iterator[None]:
    """Turn off dropout and the like, and back on where it was."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
