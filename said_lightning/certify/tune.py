"""Quantisation-aware fine-tuning: the codebook and the numbers it rounds, trained together."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float16
from omegaconf import DictConfig, OmegaConf
from torch import nn

from said_lightning.artifact.coding import Coded
from said_lightning.certify.quantise import quantise
from said_lightning.certify.rebuilt import Rebuilt
from said_lightning.config.schema import Config, typed
from said_lightning.training.callbacks import SubspaceCallback
from said_lightning.training.module import Classifier
from said_lightning.training.run import make_trainer

# Share of the run's own rate: the numbers are to settle, not to travel.
SHARE = 0.1


class Tuner(Classifier):
    """Trains d latent numbers and a codebook; the subspace holds each number's nearest level.

    A gradient with respect to the levels that are held goes straight through to the latent numbers,
    and summed over those that share a level to that level (arXiv 2211.13609).
    """

    def __init__(
        self,
        run: Rebuilt,
        config: Config,
        codebook: Float16[np.ndarray, " k"],
    ) -> None:
        super().__init__(run.model, config.task, config.trainer, config.lr, config.seed)
        self.subspace = run.subspace
        self.latent = nn.Parameter(torch.from_numpy(run.values.copy()))
        self.levels = nn.Parameter(torch.from_numpy(codebook.astype(np.float32)))

    def coordinates(self) -> list[nn.Parameter]:
        """Lists the latent numbers and the codebook."""
        return [self.latent, self.levels]

    def configure_optimizers(self) -> Any:
        """As for any run, and the subspace holds the nearest levels from the start on."""
        told = super().configure_optimizers()
        # Before the callback's own hook, which writes the weights.
        told["optimizer"].register_step_post_hook(lambda *_: self.settle())
        return told

    def on_train_start(self) -> None:
        """Has the weights hold the levels before the first batch."""
        assert self.subspace is not None
        self.settle()
        self.subspace.write()

    @torch.no_grad()
    def settle(self) -> None:
        """Gives theta and lambda the levels nearest to the latent numbers."""
        assert self.subspace is not None
        levels = self.levels.half().float()
        self.symbols = (self.latent[:, None] - levels).abs().argmin(dim=1)
        held = [weight.numel() for weight in self.subspace.coordinates()]
        for weight, part in zip(
            self.subspace.coordinates(), levels[self.symbols].split(held), strict=True
        ):
            weight.copy_(part)

    @torch.no_grad()
    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Passes the gradients of theta and lambda on."""
        assert self.subspace is not None
        held = self.subspace.coordinates()
        grads = [weight.grad for weight in held if weight.grad is not None]
        self.latent.grad = torch.cat(grads)
        self.levels.grad = torch.zeros_like(self.levels).index_add(
            0, self.symbols, self.latent.grad
        )
        for weight in held:
            weight.grad = None

    def coded(self) -> Coded:
        """Gives the numbers as their message."""
        latent, levels = (part.detach().cpu().numpy() for part in self.coordinates())
        return quantise(latent, levels.astype(np.float16))


def tune(cfg: DictConfig, run: Rebuilt, codebook: Float16[np.ndarray, " k"], epochs: int) -> Coded:
    """Fine-tunes a run's numbers with a codebook for some epochs, and gives their message.

    The rate is SHARE of `cfg.lr`, the run's own.
    """
    config = typed(cfg)
    config.trainer.epochs = epochs
    config.trainer.grow_from = None  # all d numbers are there, and one rate settles them
    config.lr = SHARE * cfg.lr
    tuner = Tuner(run, config, codebook)
    callback = SubspaceCallback(config)
    callback.subspace = run.subspace
    trainer = make_trainer(OmegaConf.structured(config), Path(), [callback], [])
    trainer.fit(tuner, datamodule=run.data)
    return tuner.coded()
