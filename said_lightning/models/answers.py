"""A model's answers to all rows of a set, outside of a Trainer."""

import numpy as np
import torch
from jaxtyping import Shaped
from transformers import PreTrainedModel

from said_lightning.data.datamodule import TextDataModule
from said_lightning.data.metrics import predictions
from said_lightning.data.tokens import Encoded

Values = Shaped[np.ndarray, " rows"]


@torch.no_grad()
def answers(model: PreTrainedModel, data: TextDataModule, rows: Encoded) -> tuple[Values, Values]:
    """Return the answers to some rows and their labels, by length, where the model lies.

    Outputs are read in float32, whatever precision they are computed in.
    """
    pairs = []
    for batch in data.in_order(rows):
        moved = {name: part.to(model.device) for name, part in batch.items()}
        labels = moved.pop("labels").cpu().numpy()
        pairs.append((predictions(model(**moved).logits.float()).cpu().numpy(), labels))
    found, right = zip(*pairs, strict=True)
    return np.concatenate(found), np.concatenate(right)
