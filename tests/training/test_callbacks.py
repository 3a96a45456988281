"""A LightningModule of one's own trains in a subspace, and an ordinary module is left."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader

from said_lightning import Subspace, SubspaceCallback
from said_lightning.errors import UserError
from said_lightning.training.callbacks import validate_start

Stage = Callable[["Toy"], None]
d, LR, RATIO = 12, 1e-3, 2.0


class Toy(LightningModule):
    """A user's module, which knows of no subspace, with the optimizer that `optimize` makes."""

    def __init__(self, optimize: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3))
        self.optimize = optimize

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        loss: Tensor = self.model(batch).square().mean()
        return loss

    def configure_optimizers(self) -> Any:
        return self.optimize(self) if self.optimize else torch.optim.Adam(self.parameters(), lr=LR)


class Watch(Callback):
    """Calls a function after every training batch."""

    def __init__(self, look: Stage) -> None:
        self.look = look

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: Toy, *_: object
    ) -> None:
        self.look(pl_module)


def rows() -> list[Tensor]:
    """Six batches of two rows."""
    return list(torch.randn(6, 2, 8, generator=torch.Generator().manual_seed(0)))


def fit(
    toy: Toy, callback: SubspaceCallback, *more: Callback, ckpt: Path | None = None, **options: Any
) -> Trainer:
    """Train on the six batches and let go of the trainer."""
    defaults = {"max_epochs": 1, "enable_checkpointing": False}
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[callback, *more],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{**defaults, **options},
    )
    trainer.fit(toy, DataLoader(rows(), batch_size=None), ckpt_path=ckpt)  # type: ignore[arg-type]
    return trainer


def said(**options: Any) -> SubspaceCallback:
    """Return the callback with a dense P."""
    return SubspaceCallback(d, step_ratio=RATIO, projection="dense", **options)


def by_hand(toy: Toy, epochs: int = 1) -> Subspace:
    """Train in an ordinary loop at the rates of the rule and of lambda."""
    space = Subspace(toy, d, projection="dense")
    optimizer = torch.optim.Adam(space.parameter_groups(full_lr=LR, step_ratio=RATIO))
    with space.training(optimizer):
        for batch in rows() * epochs:
            toy.training_step(batch, 0).backward()
            optimizer.step()
    return space


def theta_of(toy: Any) -> Any:
    """Return the theta of a module's subspace."""
    return toy.subspace.theta.detach()


def test_a_module_that_knows_of_no_subspace_trains_as_an_ordinary_loop_does() -> None:
    toy, other = Toy(), Toy()
    fit(toy, said())
    torch.testing.assert_close(theta_of(toy), by_hand(other).theta.detach())
    for mine, right in zip(toy.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, right)


def test_an_optimizer_of_the_numbers_keeps_its_own_rate() -> None:
    def optimize(toy: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(toy.subspace.parameter_groups(full_lr=LR, step_ratio=RATIO))

    fit(toy := Toy(optimize), said())
    torch.testing.assert_close(theta_of(toy), by_hand(Toy()).theta.detach())


def test_the_weights_follow_theta_after_each_step_of_the_optimizer() -> None:
    start = Toy().model[0].weight.detach().flatten()  # type: ignore[operator]
    seen: list[Tensor] = []

    def look(toy: Any) -> None:
        delta = toy.subspace.projection.project(theta_of(toy), "0.weight")
        assert torch.equal(toy.model[0].weight.detach().flatten(), start + delta)
        assert toy.model[0].weight.grad is None
        seen.append(toy.model[0].weight.detach().clone())

    fit(Toy(), said(method="did", of="model"), Watch(look), accumulate_grad_batches=2)
    moved = [not torch.equal(one, next_) for one, next_ in pairwise(seen)]
    assert moved == [True, False, True, False, True]  # a step every other batch


def test_the_optimizer_sees_the_d_numbers_alone_without_decay_and_schedulers_go_on() -> None:
    rates: list[float] = []

    def optimize(toy: Toy) -> Any:
        optimizer = torch.optim.AdamW(toy.parameters(), lr=LR, weight_decay=0.1)
        scheduler = OneCycleLR(optimizer, max_lr=LR, total_steps=6)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def look(toy: Toy) -> None:
        (optimizer,) = toy.trainer.optimizers
        (group,) = optimizer.param_groups
        assert sum(number.numel() for number in group["params"]) == d
        assert group["weight_decay"] == 0.0
        rates.append(group["lr"])

    steps: list[float] = []
    before = {"on_before_optimizer_step": lambda *_: steps.append(_[-1].param_groups[0]["lr"])}
    fit(toy := Toy(optimize), said(), Watch(look), type("Steps", (Callback,), before)())
    assert max(rates) == pytest.approx(LR, rel=0.01)
    factor = toy.subspace.lr(1.0, RATIO)  # type: ignore[union-attr, operator]
    assert factor > 2
    assert steps[1:] == pytest.approx([rate * factor for rate in rates[:-1]])


def trains_as_usual(toy: Toy) -> bool:
    """Whether a backward pass leaves its gradients in the weights."""
    toy.model(torch.ones(1, 8)).sum().backward()
    return all(weight.grad is not None for weight in toy.model.parameters())


def test_an_ordinary_module_is_left_behind() -> None:
    fit(toy := Toy(), said())
    assert trains_as_usual(toy)
    before = [weight.detach().clone() for weight in toy.parameters()]
    torch.optim.SGD(toy.parameters(), lr=0.1).step()
    assert not any(map(torch.equal, before, toy.parameters()))
    assert set(toy.state_dict()) == set(Toy().state_dict())


def test_an_ordinary_module_is_left_behind_after_a_failure() -> None:
    def fail(toy: Toy) -> None:
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        fit(toy := Toy(), said(), Watch(fail))
    assert trains_as_usual(toy)


def test_a_second_fit_goes_on_with_the_same_numbers() -> None:
    toy, callback = Toy(), said()
    fit(toy, callback)
    first = theta_of(toy).clone()
    fit(toy, callback)
    assert callback.subspace is getattr(toy, "subspace")  # noqa: B009
    assert not torch.equal(theta_of(toy), first)
    other = Toy()
    fit(other, callback)
    assert torch.equal(theta_of(other), first)


@pytest.mark.parametrize("seeded", [True, False])
def test_a_fit_goes_on_from_a_checkpoint_whatever_the_module_began_with(
    tmp_path: Path, seeded: bool
) -> None:
    trainer = fit(Toy(), said())
    trainer.save_checkpoint(file := tmp_path / "one.ckpt")
    whole = Toy()
    fit(whole, said(), max_epochs=2)
    resumed = Toy()
    if not seeded:
        with torch.no_grad():
            for weight in resumed.parameters():
                weight.normal_()
    fit(resumed, said(), max_epochs=2, ckpt=file)
    torch.testing.assert_close(theta_of(resumed), theta_of(whole))
    for mine, right in zip(resumed.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, right)


def test_a_checkpoint_loads_into_the_plain_module(tmp_path: Path) -> None:
    trainer = fit(toy := Toy(), said())
    trainer.save_checkpoint(file := tmp_path / "one.ckpt")
    loaded = Toy.load_from_checkpoint(file)
    assert all(map(torch.equal, loaded.parameters(), toy.parameters()))


def test_a_checkpoint_without_theta_is_refused(tmp_path: Path) -> None:
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, barebones=True, default_root_dir=tmp_path
    )
    trainer.fit(Toy(), DataLoader(rows(), batch_size=None))  # type: ignore[arg-type]
    trainer.save_checkpoint(file := tmp_path / "full.ckpt")
    with pytest.raises(UserError, match="of a fit without SubspaceCallback: it has no theta"):
        fit(Toy(), said(), ckpt=file, max_epochs=2)


def two_rates(toy: Toy) -> Any:
    first, last = (list(toy.model[index].parameters()) for index in (0, 2))
    groups: list[dict[str, Any]] = [{"params": first, "lr": 1.0}, {"params": last}]
    return torch.optim.Adam(groups)


def two_optimizers(toy: Toy) -> Any:
    toy.automatic_optimization = False
    return [torch.optim.Adam(part.parameters()) for part in (toy.model[0], toy.model[2])]


REFUSED: dict[str, tuple[Callable[[Toy], Any], str]] = {
    "a part": (
        lambda toy: torch.optim.Adam(toy.model[0].parameters()),
        "leaves out 2 of the model's 4 trainable tensors",
    ),
    "two rates": (two_rates, "gives the weights several rates"),
    "others": (
        lambda toy: torch.optim.Adam([*toy.parameters(), nn.Parameter(torch.zeros(1))]),
        "puts 1 tensors outside the subspace into a group with tensors inside",
    ),
    "state": (
        lambda toy: torch.optim.Adagrad(toy.parameters()),
        "Adagrad has state for each weight before its first step",
    ),
    "closures": (lambda toy: torch.optim.LBFGS(toy.parameters()), "LBFGS moves theta several"),
    "two optimizers": (
        two_optimizers,
        "expected 1 optimizer",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_optimizer_that_theta_cannot_stand_in_is_refused(case: str) -> None:
    optimize, expected = REFUSED[case]
    with pytest.raises(UserError, match=expected):
        fit(toy := Toy(optimize), said())
    assert trains_as_usual(toy)


def test_groups_at_one_rate_become_one() -> None:
    def optimize(toy: Toy) -> Any:
        named = dict(toy.named_parameters())
        decayed = [weight for name, weight in named.items() if "weight" in name]
        others = [weight for name, weight in named.items() if "weight" not in name]
        options: list[dict[str, Any]] = [{"params": decayed, "weight_decay": 0.1}]
        return torch.optim.AdamW([*options, {"params": others}], lr=LR, weight_decay=0.0)

    fit(toy := Toy(optimize), said())
    torch.testing.assert_close(theta_of(toy), by_hand(Toy()).theta.detach())


@pytest.mark.parametrize("difference", [0.0, 0.5, -0.5])
def test_processes_that_begin_with_different_weights_are_refused(
    difference: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, barebones=True)
    assert validate_start(trainer, []) == []
    total = 3.0
    others = iter([total + difference, -total - difference])
    monkeypatch.setattr(Trainer, "world_size", 2)
    monkeypatch.setattr(
        trainer.strategy,
        "reduce",
        lambda mine, reduce_op: mine.clamp_(min=next(others)),
    )
    found = validate_start(trainer, [torch.ones(1), torch.ones(2)])
    assert [message[:42] for message in found] == (
        ["the processes begin with different weights"] if difference else []
    )


@pytest.mark.parametrize("options", [{}, {"d": 5, "make": Subspace}, {"make": Subspace, "seed": 1}])
def test_neither_d_nor_make_or_both_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="expected d and Subspace's keywords, or make alone"):
        SubspaceCallback(**options)
