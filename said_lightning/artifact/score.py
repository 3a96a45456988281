"""How well a model does on a task's evaluation split."""

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from said_lightning.data.datamodule import TextDataModule
from said_lightning.data.metrics import build_metrics, predictions
from said_lightning.data.task import TaskConfig


@torch.inference_mode()
def score(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: TaskConfig, rows: int
) -> float:
    """Gives the task's metric on its evaluation split, in batches of so many rows.

    Raises UserError where the data cannot be had.
    """
    data = TextDataModule(task, tokenizer, rows, rows, seed=0)
    data.setup()
    metrics = build_metrics(task)
    for batch in data.val_dataloader()[0]:
        metrics.update(predictions(model(**batch).logits), batch["labels"])
    return float(metrics.compute()[task.metric])
