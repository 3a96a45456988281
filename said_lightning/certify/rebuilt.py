"""A finished run rebuilt from its folder: its encoder, its data, and its trained numbers."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from said_lightning.artifact.file import Artifact
from said_lightning.config.schema import Config
from said_lightning.data.datamodule import TextDataModule
from said_lightning.data.tokens import Encoded
from said_lightning.errors import UserError
from said_lightning.models.answers import answers
from said_lightning.models.build import build_subspace
from said_lightning.models.encoder import load
from said_lightning.runs.record import Record
from said_lightning.subspace.subspace import Subspace


@dataclass
class Rebuilt:
    """A run's encoder and tokenizer, its subspace and data, its d numbers, theta || lambda."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    subspace: Subspace
    data: TextDataModule
    values: Float32[np.ndarray, " d"]

    @torch.no_grad()
    def hold(self, values: Float32[np.ndarray, " d"]) -> None:
        """Write the weights that belong to d numbers."""
        parts = self.subspace.numbers()
        given = torch.from_numpy(values).split([part.numel() for part in parts])
        for part, numbers in zip(parts, given, strict=True):
            part.copy_(numbers)
        self.subspace.write()

    def errors(self, rows: Encoded) -> int:
        """Count the rows of a split that the model gets wrong."""
        device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
        found, right = answers(self.model.eval().to(device), self.data, rows)
        self.model.train().to("cpu")
        return int((found != right).sum())


def rebuild(config: Config, record: Record, artifact: Artifact) -> Rebuilt:
    """Rebuild a run from its config, its record and its artifact in float32.

    Raise UserError where the model, the data or P are not what they were.
    """
    values = artifact.values()
    model, tokenizer, model_sha256, _ = load(config.model, config.task, config.seed)
    sizes = (config.trainer.batch_size, config.trainer.eval_batch_size)
    data = TextDataModule(config.split_task, tokenizer, *sizes, config.seed, config.trainer.workers)
    data.setup()
    subspace = build_subspace(model, config)
    found = {
        "model_sha256": model_sha256,
        "data_sha256": data.data.sha256,
        "fingerprint": subspace.projection.fingerprint(),
        "d": len(values),
    }
    if wrong := [
        f"{record.folder}: {key} {value} here; expected {getattr(record, key)}, as when it ran"
        for key, value in found.items()
        if getattr(record, key) != value
    ]:
        raise UserError(*wrong)
    return Rebuilt(model, tokenizer, subspace, data, values)
