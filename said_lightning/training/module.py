"""The LightningModule around a Hugging Face encoder."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric
from transformers import PreTrainedModel

from said_lightning.config.ladder import Rung
from said_lightning.config.schema import TrainerConfig
from said_lightning.data.datamodule import WEIGHT
from said_lightning.data.metrics import build_metrics, predictions
from said_lightning.data.task import TaskConfig
from said_lightning.projections.core import random
from said_lightning.subspace.subspace import Subspace
from said_lightning.training import growing as grow
from said_lightning.training.evaluation import EXACT, Answered, scored

log = logging.getLogger(__name__)


def over_epoch(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with which Lightning logs a batch's numbers as their epoch's."""
    return {"on_step": False, "on_epoch": True, "sync_dist": True, "batch_size": rows(batch)}


def rows(batch: Mapping[str, Any]) -> int:
    """Return the number of rows that count: 0 in a share without any, which holds a stand-in."""
    return len(batch["labels"]) if batch.get(WEIGHT, 1.0) else 0


class Classifier(LightningModule):
    """Trains a sequence classifier (or regressor): all of it, through a subspace, or an adapter.

    `subspace` is None without one; a SubspaceCallback sets it before the optimizer is made. `rung`
    is the size of an adapter and `size` says it in words; None without one. lr None follows the
    rule of subspace/lr_rule.py; `rate` is what was used. D counts the weights that full fine-tuning
    trains, whatever space theta lies in.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        task: TaskConfig,
        trainer: TrainerConfig,
        lr: float | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.settings = trainer
        self.lr = lr
        self.rate = 0.0
        self.D = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        self.seed = seed
        self.subspace: Subspace | None = None
        self.rung: Rung | None = None
        self.size: str | None = None
        self.strict_loading = False  # a subspace run's state lacks the weights
        self.train_metrics = build_metrics(task).clone(prefix="train/")
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.select_loss = MeanMetric(nan_strategy="disable")
        # What runs over an epoch is part of the state of a run that stops inside one.
        self.train_metrics.persistent(True)
        self.train_loss.persistent(True)
        self.task = task
        self.answered: list[Answered] = []

    def on_fit_start(self) -> None:
        """Log the budget: what is trained, at which rate."""
        log.info(self.budget())

    def budget(self) -> str:
        """Return in one line how many numbers are trained, and at which rate."""
        if self.size is not None:
            return f"D = {self.D:,}, d = {self.size}, lr = {self.rate:.3g}"
        if (subspace := self.subspace) is None:
            return f"D = d = {self.D:,} (full fine-tuning), lr = {self.rate:.3g}"
        parts = f"{subspace.theta.numel():,} theta"
        if subspace.m:
            parts += f" + {subspace.m} lambda ({', '.join(subspace.groups)})"
        if subspace.outside:
            parts += f", and {subspace.outside:,} of the head outside"
        return f"D = {subspace.D:,}, d = {subspace.d:,} = {parts}, lr = {self.rate:.3g}"

    def trained(self) -> dict[str, Any]:
        """Return how many numbers are trained and at which rate, as a run's record says it."""
        subspace, rung = self.subspace, self.rung
        if subspace is not None:
            d, outside = subspace.d + subspace.outside, subspace.outside
            return {"d": d, "D": subspace.D, "m": subspace.m, "outside": outside, "lr": self.rate}
        d, outside = (self.D, 0) if rung is None else (rung.d, rung.head)
        return {"d": d, "D": self.D, "m": 0, "outside": outside, "lr": self.rate}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed dropout by (seed, epoch, batch, process): its noise depends on nothing else."""
        place = f"{self.current_epoch}/{batch_idx}"
        if self.global_rank:
            place += f"/{self.global_rank}"
        torch.manual_seed(random.key(self.seed, place, "dropout")[0])

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Return a batch's loss, a scalar; its mean over all processes is the whole batch's."""
        output = self.output(batch)
        if rows(batch):
            found = predictions(output.logits.detach().float())
            self.train_metrics.update(found, batch["labels"])
        whole = over_epoch(batch)
        self.train_loss.update(output.loss.detach(), rows(batch))
        self.log("train/loss", self.train_loss, prog_bar=True, **whole)
        self.log_dict(self.train_metrics, **whole)
        loss: Tensor = output.loss * batch.get(WEIGHT, 1.0)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the answers of the epoch before."""
        loaders: Any = self.trainer.val_dataloaders
        self.answered = [Answered(self.trainer, loader) for loader in loaders]

    def validation_step(
        self, batch: Mapping[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Take down the answers to a batch, and the headline's loss."""
        output = self.output(batch)
        self.answered[dataloader_idx].add(batch_idx, output.logits.float())
        if dataloader_idx == 0:
            # Lightning's own mean over processes rounds their numbers of rows.
            self.select_loss.update(output.loss.detach(), rows(batch))
            self.log("select/loss", self.select_loss, **over_epoch(batch), add_dataloader_idx=False)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of all rows."""
        self.log_dict(scored(self.task, "select", self.answered), **EXACT)

    def output(self, batch: Mapping[str, Any]) -> Any:
        """Return the model's output for a batch."""
        return self.model(**{name: part for name, part in batch.items() if name != WEIGHT})

    def parameter_groups(self, subspace: Subspace) -> list[dict[str, Any]]:
        """Return the optimizer's groups: theta at the run's rate, lambda, a head outside."""
        settings = self.settings
        rates = (settings.full_lr, settings.step_ratio, settings.lambda_lr)
        groups = subspace.parameter_groups(*rates)
        groups[0]["lr"] = self.lr or groups[0]["lr"]
        for group in groups:
            group.setdefault("weight_decay", settings.weight_decay)
        return groups

    def configure_optimizers(self) -> Any:
        """AdamW with linear warm-up and decay, over what is trained.

        Weight decay pulls weights and adapters (and a head outside) to 0, never theta.
        """
        settings = self.settings
        if self.subspace is None:
            weights = [weight for weight in self.model.parameters() if weight.requires_grad]
            rate, decay = self.lr or settings.full_lr, settings.weight_decay
            groups: list[dict[str, Any]] = [{"params": weights, "lr": rate, "weight_decay": decay}]
        else:
            groups = self.parameter_groups(self.subspace)
        self.rate = groups[0]["lr"]
        optimizer = torch.optim.AdamW(groups)
        schedule = self.schedule(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def schedule(self, optimizer: torch.optim.Optimizer) -> Any:
        """Return the rate's rise and fall, over the whole run or each epoch of one that grows."""
        settings, steps = self.settings, int(self.trainer.estimated_stepping_batches)
        if settings.grow_from is None or self.subspace is None:
            return LambdaLR(optimizer, grow.rise_and_fall(steps, settings.warmup))
        sizes = grow.sizes(settings.grow_from, self.subspace.d, settings.epochs)
        return grow.schedule(optimizer, sizes, steps // settings.epochs, settings.warmup)
