"""The hooks around a Subspace: on for a fit, gone afterwards, and the weights always written."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from said_lightning.config.schema import Config, MethodConfig
from said_lightning.subspace.subspace import Subspace
from said_lightning.training.callbacks import SubspaceCallback

Stage = Callable[["Toy"], None]


class Toy(LightningModule):
    """A linear model on random rows, whose optimizer sees what a SubspaceCallback makes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.subspace: Subspace | None = None
        self.model = nn.Linear(8, 4)

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        loss: Tensor = self.model(batch).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        assert self.subspace is not None
        return torch.optim.Adam(self.subspace.coordinates(), lr=0.1)


class Watch(Callback):
    """Calls a function after every training batch."""

    def __init__(self, look: Stage) -> None:
        self.look = look

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: Toy, *_: object
    ) -> None:
        self.look(pl_module)


def fit(look: Stage, method: str = "did") -> Toy:
    """Train a toy for three steps, two batches each."""
    rows = list(torch.randn(6, 2, 8, generator=torch.Generator().manual_seed(0)))
    toy = Toy()
    config = Config(method=MethodConfig(name=method), projection={"name": "dense"}, d=6)
    subspace = SubspaceCallback(config)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        accumulate_grad_batches=2,
        callbacks=[subspace, Watch(look)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        trainer.fit(toy, DataLoader(rows, batch_size=None))  # type: ignore[arg-type]
    finally:
        toy.trainer = None
    return toy


def trains_as_usual(toy: Toy) -> bool:
    """Whether a backward pass leaves its gradients in the weights."""
    toy.model(torch.ones(1, 8)).sum().backward()
    return all(weight.grad is not None for weight in toy.model.parameters())


def test_the_weights_follow_theta_after_each_step_of_the_optimizer() -> None:
    start = Toy().model.weight.detach().flatten()
    seen: list[Tensor] = []

    def look(toy: Toy) -> None:
        assert toy.subspace is not None
        delta = toy.subspace.projection.project(toy.subspace.theta.detach(), "weight")
        assert torch.equal(toy.model.weight.detach().flatten(), start + delta)
        assert toy.model.weight.grad is None
        seen.append(toy.model.weight.detach().clone())

    fit(look)
    moved = [not torch.equal(one, next_) for one, next_ in pairwise(seen)]
    assert moved == [True, False, True, False, True]  # a step every other batch


def test_an_ordinary_model_is_left_behind() -> None:
    toy = fit(lambda toy: None)
    written = toy.model.weight.detach().clone()
    assert trains_as_usual(toy)
    torch.optim.SGD(toy.model.parameters(), lr=0.1).step()
    assert not torch.equal(toy.model.weight, written)


def test_an_ordinary_model_is_left_behind_after_a_failure() -> None:
    failed = []

    def fail(toy: Toy) -> None:
        failed.append(toy)
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        fit(fail)
    assert trains_as_usual(failed[0])


def test_the_optimizer_sees_the_d_numbers_alone() -> None:
    (group,) = fit(lambda toy: None, "did").configure_optimizers().param_groups
    assert sum(numbers.numel() for numbers in group["params"]) == 6
