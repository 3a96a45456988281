"""Numbers quantised to a learned codebook, and both fine-tuned together (arXiv 2211.13609)."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float16, Float32, Int
from torch import nn

from said_lightning.artifact.coding import Coded, encode
from said_lightning.certify.rebuilt import Rebuilt
from said_lightning.config.schema import Config
from said_lightning.errors import needs
from said_lightning.subspace.subspace import Subspace
from said_lightning.training.callbacks import SubspaceCallback
from said_lightning.training.module import Classifier
from said_lightning.training.trainer import make_trainer

# Share of the run's own rate: the numbers are to settle, not to travel.
SHARE = 0.1


def lloyd(values: Float32[np.ndarray, " d"], levels: int) -> Float16[np.ndarray, " k"]:
    """Return the codebook of at most `levels` that k-means finds from even quantiles.

    Raise UserError where scipy is not installed."""
    kmeans2 = needs("scipy.cluster.vq", "certify", "a codebook").kmeans2
    start = np.unique(np.quantile(values, (np.arange(levels) + 0.5) / levels, method="higher"))
    with warnings.catch_warnings():
        # Of a level that loses all its numbers on the way: it is left out of the message.
        warnings.simplefilter("ignore", UserWarning)
        found, _ = kmeans2(values[:, None].astype(float), start[:, None], minit="matrix", iter=100)
    return np.unique(found.astype(np.float16))


def quantise(values: Float32[np.ndarray, " d"], codebook: Float16[np.ndarray, " k"]) -> Coded:
    """Code each number as the nearest level; levels that are nobody's nearest are left out."""
    symbols = nearest(values, codebook)
    used, symbols = np.unique(symbols, return_inverse=True)
    return encode(symbols, codebook[used])


def nearest(
    values: Float32[np.ndarray, " d"], codebook: Float16[np.ndarray, " k"]
) -> Int[np.ndarray, " d"]:
    """Return each number's nearest level, the first of equals."""
    return np.abs(values[:, None] - codebook.astype(np.float32)).argmin(axis=1)


class Tuner(Classifier):
    """Train d latent numbers and a codebook; the subspace holds each number's nearest level.

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

    def parameter_groups(self, subspace: Subspace) -> list[dict[str, Any]]:
        """Return one group: the latent numbers, the codebook, and the held numbers, at rest."""
        held = subspace.numbers()  # without a gradient, they are left where `settle` puts them
        return [{"params": [self.latent, self.levels, *held], "lr": self.lr, "weight_decay": 0.0}]

    def configure_optimizers(self) -> Any:
        """Return the optimizer of any run, and hold the nearest levels after each of its steps."""
        options = super().configure_optimizers()
        # Before the callback's own hook, which writes the weights.
        options["optimizer"].register_step_post_hook(lambda *_: self.settle())
        return options

    def on_train_start(self) -> None:
        """Write the levels into the weights before the first batch."""
        assert self.subspace is not None
        self.settle()
        self.subspace.write()

    @torch.no_grad()
    def settle(self) -> None:
        """Set theta and lambda to the levels nearest to the latent numbers."""
        assert self.subspace is not None
        levels = self.levels.half().float()
        self.symbols = (self.latent[:, None] - levels).abs().argmin(dim=1)
        held = [weight.numel() for weight in self.subspace.numbers()]
        for weight, part in zip(
            self.subspace.numbers(), levels[self.symbols].split(held), strict=True
        ):
            weight.copy_(part)

    @torch.no_grad()
    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Hand the gradients of theta and lambda on to the latent numbers and the codebook."""
        assert self.subspace is not None
        held = self.subspace.numbers()
        grads = [weight.grad for weight in held if weight.grad is not None]
        self.latent.grad = torch.cat(grads)
        self.levels.grad = torch.zeros_like(self.levels).index_add(
            0, self.symbols, self.latent.grad
        )
        for weight in held:
            weight.grad = None

    def coded(self) -> Coded:
        """Return the numbers as their message."""
        latent, levels = (part.detach().cpu().numpy() for part in (self.latent, self.levels))
        return quantise(latent, levels.astype(np.float16))


def tune(config: Config, run: Rebuilt, codebook: Float16[np.ndarray, " k"], epochs: int) -> Coded:
    """Fine-tune a run's numbers with a codebook for some epochs, and return their message.

    The rate is SHARE of `config.lr`, the run's own.
    """
    assert config.lr is not None
    # All d numbers are there, and one rate settles them.
    trainer_config = replace(config.trainer, epochs=epochs, grow_from=None)
    config = replace(config, trainer=trainer_config, lr=SHARE * config.lr)
    tuner = Tuner(run, config, codebook)
    callback = SubspaceCallback(make=lambda _: run.subspace, of="model")
    trainer = make_trainer(config, Path(), [callback])
    trainer.fit(tuner, datamodule=run.data)
    return tuner.coded()
