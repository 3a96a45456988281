"""A finished run rebuilt from its folder: its encoder, its data, and its trained numbers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from omegaconf import DictConfig
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor
from transformers import PreTrainedModel

from said_lightning.build import build_subspace
from said_lightning.config import typed
from said_lightning.data.datamodule import TextDataModule
from said_lightning.data.encoded import Encoded
from said_lightning.encoder import load
from said_lightning.errors import UserError
from said_lightning.runs.checkpoint import FOLDER
from said_lightning.runs.record import Record
from said_lightning.subspace import Subspace

NUMBERS = "subspace.safetensors"


@dataclass
class Rebuilt:
    """A run's encoder with its subspace, its data, and its d trained numbers, theta || lambda."""

    model: PreTrainedModel
    subspace: Subspace
    data: TextDataModule
    values: Float32[np.ndarray, " d"]

    @torch.no_grad()
    def hold(self, values: Float32[np.ndarray, " d"]) -> None:
        """Writes the weights that belong to d numbers."""
        parts = self.subspace.coordinates()
        given = torch.from_numpy(values).split([part.numel() for part in parts])
        for part, numbers in zip(parts, given, strict=True):
            part.copy_(numbers)
        self.subspace.write()

    @torch.no_grad()
    def errors(self, rows: Encoded) -> int:
        """Counts the rows of a split that the model gets wrong."""
        device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
        self.model.eval().to(device)
        wrong = 0
        for batch in self.data.in_order(rows):
            inputs: dict[str, Tensor] = {name: part.to(device) for name, part in batch.items()}
            labels = inputs.pop("labels")
            wrong += int((self.model(**inputs).logits.argmax(dim=1) != labels).sum())
        self.model.train().to("cpu")
        return wrong


def rebuild(cfg: DictConfig, record: Record, folder: Path) -> Rebuilt:
    """Rebuilds a run from its config, its record and what it saved.

    Raises UserError where its numbers cannot be read, and where the model, the data or P are not
    what they were.
    """
    config = typed(cfg)
    path = folder / FOLDER / NUMBERS
    try:
        saved = load_file(path)
        values = np.concatenate([saved["theta"], saved["scale"]])
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(f"{path}: no trained numbers to be read: {error}") from None
    model, tokenizer, model_sha256 = load(config.model, config.task, config.seed)
    sizes = (config.trainer.batch_size, config.trainer.eval_batch_size)
    data = TextDataModule(config.task, tokenizer, *sizes, config.seed, config.trainer.workers)
    data.setup()
    subspace = build_subspace(model, config)
    found = {
        "model_sha256": model_sha256,
        "data_sha256": data.data.sha256,
        "fingerprint": subspace.projection.fingerprint(),
        "d": len(values),
    }
    if wrong := [
        f"{folder}: {key} {value} here; expected {getattr(record, key)}, as when it ran"
        for key, value in found.items()
        if getattr(record, key) != value
    ]:
        raise UserError(*wrong)
    return Rebuilt(model, subspace, data, values)
