"""Masked language modelling (arXiv 1810.04805) with Lightning, every step a function of its number.

Rows, masks and dropout of a step come from (seed, step), so a run that was cut off goes on to the
same bits from its last state: weights, AdamW's moments and the step.
"""

from typing import Any

import torch
from jaxtyping import Int
from numpy import ndarray
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
)

from said_lightning.data.batching import ROWS, permutation
from said_lightning.projections.core import random
from said_lightning.tools.pretrain.settings import PretrainConfig


def new_bert(config: PretrainConfig, tokenizer: PreTrainedTokenizerFast) -> BertForMaskedLM:
    """Make a BERT with random weights, drawn from the seed."""
    torch.manual_seed(config.seed)
    return BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=4 * config.width,
            max_position_embeddings=max(config.length, 512),
            pad_token_id=tokenizer.pad_token_id,
        )
    )


class Batches(Dataset[dict[str, Tensor]]):
    """The batch of each step: random rows, each once an epoch, 15 % of their tokens masked."""

    def __init__(
        self,
        rows: Int[ndarray, "rows length"],
        tokenizer: PreTrainedTokenizerFast,
        batch_size: int,
        seed: int,
    ) -> None:
        self.rows = rows
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.seed = seed

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        epoch, place = divmod(step, len(self.rows) // self.batch_size)
        order = permutation(len(self.rows), ROWS, self.seed, epoch)
        chosen = order[place * self.batch_size : (place + 1) * self.batch_size]
        seed, _ = random.key(self.seed, str(step), "mask")
        mask = DataCollatorForLanguageModeling(self.tokenizer, seed=seed)
        batch = mask([{"input_ids": row} for row in self.rows[chosen]])
        return {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}


class MaskedLM(LightningModule):
    """Train a BERT from step `start` on; the rate rises, then falls linearly to 0."""

    def __init__(
        self, model: BertForMaskedLM, config: PretrainConfig, state: dict[str, Any] | None
    ) -> None:
        super().__init__()
        self.model = model.train()
        self.config = config
        self.state = state
        self.start: int = state["step"] if state else 0
        self.losses: list[float] = list(state["losses"]) if state else []

    @property
    def step(self) -> int:
        """The steps done."""
        return self.start + self.global_step

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed dropout and set the rate, both by the step's number."""
        torch.manual_seed(random.key(self.config.seed, str(self.step), "dropout")[0])
        end = self.config.steps[-1]
        rise = max(1, round(end * self.config.warmup))
        share = min((self.step + 1) / rise, (end - self.step) / max(1, end - rise))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.config.lr * share

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the mean cross-entropy of the masked tokens, a scalar."""
        loss: Tensor = self.model(**batch).loss
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW over all weights, with the moments of the state that is resumed."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.config.lr, weight_decay=0.01)
        if self.state:
            optimizer.load_state_dict(self.state["optimizer"])
        return optimizer

    def state_to_keep(self) -> dict[str, Any]:
        """Return the state: what a run needs to go on."""
        return {
            "step": self.step,
            "losses": self.losses,
            "model": dict(self.model.named_parameters()),
            "optimizer": self.trainer.optimizers[0].state_dict(),
            "progress": [self.step, self.config.steps[-1]],
        }
