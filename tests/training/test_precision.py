"""Every precision keeps theta in float32 and its gradient right: unscaled, clipped, accumulated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader

from said_lightning.config.validate import validate_config
from said_lightning.models.encoder import load
from said_lightning.projections import names
from said_lightning.subspace.subspace import Subspace
from said_lightning.training import run as training
from said_lightning.training.callbacks import SubspaceCallback
from said_lightning.training.module import Classifier
from said_lightning.training.run import run

# The step from 1 to the next number of the format in which the model computes.
EPSILON = {"32-true": 2**-23, "16-mixed": 2**-10, "bf16-mixed": 2**-7, "bf16-true": 2**-7}
Trained = Callable[..., Classifier]


@pytest.fixture
def trained(compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """Train on the CPU and return the module."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    modules: list[Classifier] = []
    monkeypatch.setattr(training, "save", lambda module, folder: modules.append(module))

    def one(*overrides: str) -> Classifier:
        record = run(compose(tmp_path / str(len(modules)), *overrides))
        assert record.status == "done", record.reason
        return modules[-1]

    return one


@pytest.mark.parametrize("precision", EPSILON)
def test_weights_are_theta_0_and_the_projection_rounded_once(
    trained: Trained, compose: Any, tmp_path: Path, precision: str
) -> None:
    module = trained(f"trainer.precision={precision}")
    (optimizer,) = module.trainer.optimizers
    subspace = module.subspace
    assert subspace is not None
    assert module.trainer.precision == precision
    moments = [part for state in optimizer.state.values() for part in state.values()]
    for numbers in (*subspace.numbers(), *moments):
        assert numbers.dtype == torch.float32

    config = compose(tmp_path).config
    whole = load(config.model, config.task, config.seed).model
    other = Subspace(whole, config.d, seed=config.seed)
    other.load_state_dict(subspace.state_dict())
    other.write()
    expected = torch.bfloat16 if precision == "bf16-true" else torch.float32
    for mine, exact in zip(module.model.parameters(), whole.parameters(), strict=True):
        assert mine.dtype == expected
        assert torch.equal(mine, exact.to(expected))


@pytest.mark.parametrize("precision", EPSILON)
def test_full_fine_tuning_trains_in_every_precision(trained: Trained, precision: str) -> None:
    module = trained(f"trainer.precision={precision}", "method=full", "trainer.epochs=1")
    assert module.trainer.precision == precision


def test_float16_scales_the_loss_on_a_cpu_too(trained: Trained) -> None:
    plugin = trained("trainer.precision=16-mixed", "trainer.epochs=1").trainer.precision_plugin
    assert isinstance(plugin, MixedPrecision)
    assert plugin.scaler is not None
    assert plugin.scaler.get_scale() > 1


@pytest.mark.parametrize("precision", [p for p in EPSILON if p != "32-true"])
def test_the_gradient_of_theta_is_that_of_float32(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Where it is clipped, so after unscaling; the first step, which a scaler may skip."""
    grads: list[Tensor] = []

    def keep(self: Classifier, *_: Any, **__: Any) -> None:
        assert self.subspace is not None
        assert self.subspace.theta.grad is not None
        grads.append(self.subspace.theta.grad.clone())

    monkeypatch.setattr(Classifier, "configure_gradient_clipping", keep)
    first = []
    for name in (precision, "32-true"):
        grads.clear()
        trained(f"trainer.precision={name}", "trainer.epochs=1", "lr=1e-3")
        first.append(grads[0])
    mine, right = first
    # It is 1.1 to 1.4 of these steps; bfloat16 in place of float16 would make it 8 times as many.
    assert (mine - right).norm() <= 4 * EPSILON[precision] * right.norm()


def test_bfloat16_weights_want_theta_0(compose: Any, tmp_path: Path) -> None:
    spec = compose(tmp_path, "trainer.precision=bf16-true", "method.origin=none")
    (message,) = validate_config(spec.config)
    assert message.startswith("trainer.precision=bf16-true: expected method.origin=copy")


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("projection", names())
def test_a_gradient_that_overflows_skips_the_step_and_writes_nothing(
    projection: str, value: float
) -> None:
    torch.manual_seed(0)
    model = nn.Linear(40, 40)
    subspace = Subspace(model, 30, projection=projection, method="did")
    subspace.attach()
    optimizer = torch.optim.SGD(subspace.numbers(), lr=0.1)
    optimizer.register_step_post_hook(lambda *_: subspace.write())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    # Rows without an entry, as `sparse` has, move with no theta: their gradient counts for nothing.
    moved = subspace.projection.project(torch.randn(30), "weight").nonzero().view(-1)
    broken: list[int] = []

    def overflow(grad: Tensor) -> Tensor:
        grad = grad.clone()
        grad.view(-1)[[place % grad.numel() for place in broken]] = value
        return grad

    def step() -> bool:
        """Take a step and return whether the weights moved."""
        before = model.weight.detach().clone(), subspace.theta.detach().clone()
        optimizer.zero_grad()
        out = model(torch.ones(2, 40))
        if projection == "kronecker":  # the weight has no gradient, what leaves the layer has
            out.register_hook(overflow)
        scaler.scale(out.square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
        moved = [
            not torch.equal(*pair)
            for pair in zip(before, (model.weight, subspace.theta), strict=True)
        ]
        assert len(set(moved)) == 1
        return moved[0]

    model.weight.register_hook(overflow)
    assert step()
    for place in (0, len(moved) // 2, -1):
        broken[:] = [int(moved[place])]
        scale = scaler.get_scale()
        assert not step()
        assert scaler.get_scale() == scale / 2
        broken.clear()
        assert step()


# Where theta and lambda start: at theta = 0 lambda would have no gradient.
START = (torch.tensor([0.3, -0.2, 0.5, 0.1, -0.4]), torch.tensor([1.5]))


class Toy(LightningModule):
    """A small net with a curved loss, whose optimizer takes the gradient itself as its step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.subspace: Subspace | None = None
        self.model = nn.Sequential(nn.Linear(8, 4), nn.Tanh())

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        loss: Tensor = self.model(batch).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        assert self.subspace is not None
        with torch.no_grad():
            for numbers, start in zip(self.subspace.numbers(), START, strict=True):
                numbers.copy_(start)
        self.subspace.write()
        return torch.optim.SGD(self.subspace.numbers(), lr=1.0)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("share", [0.5, 2.0])
def test_clipping_and_accumulation_act_on_thetas_gradient(accumulate: int, share: float) -> None:
    """Against autograd through functional_call; clipped to a share of the gradient's norm."""
    batches = torch.randn(accumulate, 2, 8, generator=torch.Generator().manual_seed(0))
    gradient = gradient_by_autograd(batches)
    clip = share * float(torch.cat(gradient).norm())
    toy = Toy()
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        accumulate_grad_batches=accumulate,
        gradient_clip_val=clip,
        callbacks=[SubspaceCallback(6, projection="dense", of="model")],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(toy, DataLoader(list(batches), batch_size=None))  # type: ignore[arg-type]
    assert toy.subspace is not None
    for numbers, start, slope in zip(toy.subspace.numbers(), START, gradient, strict=True):
        torch.testing.assert_close(numbers.detach(), start - min(1.0, share) * slope)


def gradient_by_autograd(batches: Tensor) -> tuple[Tensor, ...]:
    """Return the gradient of the mean loss of all batches in theta and lambda, through P itself."""
    model = Toy().model
    projection = Subspace(model, 6, projection="dense").projection
    theta, scale = (numbers.clone().requires_grad_() for numbers in START)
    moved = {}
    for name, weight in model.named_parameters():
        delta = scale * projection.forward_rows(theta, name, 0, weight.numel())
        moved[name] = weight.detach() + delta.view_as(weight)
    losses = [functional_call(model, moved, (batch,)).square().mean() for batch in batches]
    return torch.autograd.grad(torch.stack(losses).mean(), (theta, scale))
