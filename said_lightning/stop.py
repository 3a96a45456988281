"""Ending a run once it has shown what a search asks of it."""

from pytorch_lightning import Callback, LightningModule, Trainer


class StopAt(Callback):
    """Ends training after the first epoch whose `metric` on evaluation data reaches `value`.

    None never does. The learning rate's schedule stays that of the whole run, so that a run that is
    not ended is the same with and without this.
    """

    def __init__(self, metric: str, value: float | None) -> None:
        self.metric = metric
        self.value = value

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the epoch's metric; Lightning evaluates before it calls this."""
        reached = float(trainer.callback_metrics[f"eval/{self.metric}"])
        if self.value is not None and reached >= self.value:
            trainer.should_stop = True
