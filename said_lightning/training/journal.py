"""What a run reports while it trains: metrics.jsonl, a log line an epoch, the best epoch."""

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from said_lightning.data.splits import Parts
from said_lightning.runs.record import Epoch, write_metrics
from said_lightning.runs.watch import Progress, write_progress
from said_lightning.training.loggers import Sink

log = logging.getLogger(__name__)

Row = dict[str, Any]


class Journal(Callback):
    """Write each epoch's metrics beside the run and keep the best and the last.

    A row is an epoch's, on the training and the select rows, or one of the report rows; it names
    the split of either. The best epoch is the first with the highest value of `metric` on the
    select rows. A loss, or outputs, that are not finite end the run with FloatingPointError. A
    state holds all rows, so that the file of a resumed run is that of one never interrupted. `sink`
    gets each row too.
    """

    def __init__(self, folder: Path, metric: str, parts: Parts, sink: Sink) -> None:
        self.folder = folder
        self.metric = metric
        self.parts = parts
        self.sink = sink
        self.rows: list[Row] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the rows of an interrupted run."""
        self.rows = state_dict["rows"]

    @property
    def epochs(self) -> list[Row]:
        """The rows of the epochs."""
        return [row for row in self.rows if "select" in row]

    @property
    def reports(self) -> list[Row]:
        """The rows of the report rows; none where the select rows report."""
        return [row for row in self.rows if "report" in row]

    @property
    def best(self) -> Epoch | None:
        """Return the epoch whose metric is best."""
        return self._epoch(self._best) if self.epochs else None

    @property
    def last(self) -> Epoch | None:
        """Return the last epoch."""
        return self._epoch(self.epochs[-1]) if self.epochs else None

    @property
    def values(self) -> list[float]:
        """Return the metric of each epoch that reported, on the report rows."""
        if self.parts.held_out:
            return [row[f"report/{self.metric}"] for row in self.reports]
        return [row[f"select/{self.metric}"] for row in self.epochs]

    @property
    def metrics(self) -> dict[str, float]:
        """Return all metrics on the report rows: of the last epoch, or the best where dev chose."""
        part, rows = ("report", self.reports) if self.parts.held_out else ("select", self.epochs)
        row = (rows[-1] if self.parts.held_out else self._best) if rows else {}
        names = {name: name.removeprefix(f"{part}/") for name in row if name.startswith(f"{part}/")}
        return {short: row[name] for name, short in names.items() if short != "loss"}

    @property
    def train_value(self) -> float | None:
        """Return the metric on the training data, running over the last epoch."""
        return self.epochs[-1][f"train/{self.metric}"] if self.epochs else None

    @property
    def _best(self) -> Row:
        return max(self.epochs, key=lambda row: row[f"select/{self.metric}"])

    def _epoch(self, row: Row) -> Epoch:
        return Epoch(epoch=int(row["epoch"]), value=row[f"select/{self.metric}"])

    def report(self, trainer: Trainer, found: Mapping[str, float]) -> None:
        """Take down the metrics of the report rows, by the weights of the epoch that ends."""
        self._add(trainer, {"report": self.parts.report, **found})
        value = found[f"report/{self.metric}"]
        log.info("%s %.4f on the report rows, of %s", self.metric, value, self.parts.report)

    def _add(self, trainer: Trainer, found: Row) -> None:
        place = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        self.rows.append({**place, **found})
        if trainer.is_global_zero:
            write_metrics(self.folder, self.rows)
            self.sink.log(self.rows[-1])
        if (reason := not_finite(found)) is not None:
            raise FloatingPointError(f"{reason} in epoch {place['epoch']}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take down an epoch; Lightning evaluates before it calls this."""
        parts = ("train/", "select/")
        logged = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith(parts)
        }
        self._add(trainer, {"select": self.parts.select, **logged})
        log.info(
            "epoch %d/%s: train loss %.4f, %s %.4f on train, %.4f on the select rows",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            logged["train/loss"],
            self.metric,
            self.train_value,
            logged[f"select/{self.metric}"],
        )


class Pulse(Callback):
    """Notes in a run's folder how far it has come, each second, for a launcher that shows it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.noted = -math.inf

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Note the step that was made."""
        if time.monotonic() - self.noted < 1 or not trainer.is_global_zero:
            return
        self.noted = time.monotonic()
        epochs, steps = trainer.max_epochs or 1, int(trainer.estimated_stepping_batches)
        now = Progress(trainer.current_epoch + 1, epochs, trainer.global_step, steps)
        write_progress(self.folder, now)


def not_finite(row: Row) -> str | None:
    """Return what of a row's numbers is not finite, the training loss first; None where all are."""
    broken = {n: v for n, v in row.items() if isinstance(v, float) and not math.isfinite(v)}
    if not broken:
        return None
    if "train/loss" in broken:
        return f"the training loss is {broken['train/loss']}"
    # A metric is not finite where outputs are not, and then neither is the loss.
    first = min(broken, key=lambda name: name.endswith("/loss"))
    part = first.partition("/")[0]
    if first.endswith("/loss"):
        return f"the loss on the {part} rows is {broken[first]}"
    return f"the outputs on the {part} rows are not finite"
