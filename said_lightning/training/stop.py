"""Ending a run once it has shown what a search asks of it."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class StopAt(Callback):
    """Ends training after the first epoch whose `metric` on evaluation data reaches `value`.

    None never does. The learning rate's schedule stays that of the whole run, so that a run that is
    not ended is the same with and without this. A run cut off between that epoch's end and its own
    has ended all the same when it is resumed.
    """

    def __init__(self, metric: str, value: float | None) -> None:
        self.metric = metric
        self.value = value
        self.reached = False

    def state_dict(self) -> dict[str, Any]:
        """Gives what a state tells of this; it is asked for after the epoch was looked at."""
        return {"reached": self.reached}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what the legs before have found."""
        self.reached = state_dict["reached"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Trains no further where the epoch was reached before."""
        trainer.should_stop = trainer.should_stop or self.reached

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the epoch's metric; Lightning evaluates before it calls this."""
        value = float(trainer.callback_metrics[f"eval/{self.metric}"])
        if self.value is not None and value >= self.value:
            trainer.should_stop = self.reached = True
