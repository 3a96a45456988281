"""What a run tells while it trains: metrics.jsonl, a log line an epoch, the best epoch, W&B."""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import WandbLogger

from said_lightning.runs.record import Epoch, append_metrics

log = logging.getLogger(__name__)


class Journal(Callback):
    """Writes each epoch's metrics beside the run and keeps the best and the last.

    The best epoch is the first with the highest value of `metric`. A training loss that is not
    finite ends the run with FloatingPointError.
    """

    def __init__(self, folder: Path, metric: str) -> None:
        self.folder = folder
        self.metric = metric
        self.best: Epoch | None = None
        self.last: Epoch | None = None
        self.metrics: dict[str, float] = {}
        self.train_value: float | None = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes down an epoch; Lightning evaluates before it calls this."""
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        epoch = trainer.current_epoch + 1
        if trainer.is_global_zero:
            append_metrics(self.folder, {"epoch": epoch, "step": trainer.global_step, **logged})
        if not math.isfinite(loss := logged["train/loss"]):
            raise FloatingPointError(f"the training loss is {loss} in epoch {epoch}")
        value = logged[f"eval/{self.metric}"]
        self.last = Epoch(epoch=epoch, value=value)
        self.train_value = logged[f"train/{self.metric}"]
        if self.best is None or self.best.value is None or value > self.best.value:
            self.best = self.last
            self.metrics = {
                name.removeprefix("eval/"): number
                for name, number in logged.items()
                if name.startswith("eval/") and name != "eval/loss"
            }
        log.info(
            "epoch %d/%s: train loss %.4f, %s %.4f on train, %.4f on eval",
            epoch,
            trainer.max_epochs,
            loss,
            self.metric,
            self.train_value,
            value,
        )


@contextmanager
def soft() -> Iterator[None]:
    """Tells of trouble with W&B, and lets the run go on without it."""
    try:
        yield
    except Exception as error:
        log.warning("W&B is not available: %s", error)


class SoftWandbLogger(WandbLogger):
    """A WandbLogger that cannot end a run, and is finished with it: the next run is another's."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Sends numbers to W&B, if it is there."""
        with soft():
            super().log_metrics(metrics, step)

    def finalize(self, status: str) -> None:
        """Closes the run at W&B, as finished or failed; Lightning calls this in either case."""
        with soft():
            self.experiment.finish(exit_code=int(status != "success"))
