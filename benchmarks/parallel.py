"""Two processes train what one does with their batches together, and send 4 d bytes a step."""

import os
from itertools import pairwise
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader

from said_lightning.subspace.subspace import Subspace
from said_lightning.tools.bench.claims import Claim, assert_all
from said_lightning.tools.bench.measure import make_batch
from said_lightning.tools.bench.models import MODELS
from said_lightning.training.callbacks import SubspaceCallback
from said_lightning.training.ddp import RANK, SubspaceStrategy, processes

d, STEPS, ROWS = 1000, 6, 8
sent: list[int] = []


class Plain(LightningModule):
    """Trains on this process's rows of a batch and notes what was sent before each."""

    subspace: Subspace

    def __init__(self, of: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = MODELS["bert-tiny"]()
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self.of = of
        self.before: list[int] = []

    def on_train_batch_start(self, batch: Any, index: int) -> None:
        self.before.append(sum(sent))

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        rank = int(os.environ.get(RANK, 0))
        loss: Tensor = self.model(
            **{key: part[rank :: self.of] for key, part in batch.items()}
        ).loss
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        # Adam would blow up the rounding of gradients near 0.
        return torch.optim.SGD(self.subspace.trainable_parameters(), 10.0)


def train(of: int) -> Plain:
    """Train as one of several processes."""
    module = Plain(of)
    trainer = Trainer(
        accelerator="cpu",
        devices=of,
        strategy=SubspaceStrategy() if of > 1 else "auto",
        max_epochs=1,
        logger=False,
        barebones=True,
        use_distributed_sampler=False,
        callbacks=[SubspaceCallback(d, of="model")],
    )
    batch = make_batch(module.model, ROWS, 16) | {"labels": torch.arange(ROWS) % 2}
    batches: Any = [batch] * STEPS
    with processes(of, train, of):
        trainer.fit(module, DataLoader(batches, batch_size=None))
    return module


def watch(name: str) -> None:
    """Count the bytes that a collective call is given."""
    original = getattr(distributed, name)

    def watched(*arguments: Any, **options: Any) -> Any:
        sent.extend(part.nbytes for part in arguments if isinstance(part, Tensor))
        return original(*arguments, **options)

    setattr(distributed, name, watched)


if __name__ == "__main__":
    for collective in ("all_reduce", "broadcast", "all_gather", "reduce_scatter"):
        watch(collective)
    shared = train(2)
    steps = [after - before for before, after in pairwise(shared.before)]
    one, two = train(1).subspace.theta.detach(), shared.subspace.theta.detach()
    assert_all(
        [
            Claim(
                "distance of the two thetas / length",
                float((one - two).norm() / one.norm()),
                most=1e-4,
            ),
            Claim("bytes a step beside 4 d", max(steps) - 4 * d, least=0, most=16),
        ]
    )
