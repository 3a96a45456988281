"""The Lightning callbacks that train in a subspace, and that end a run which has shown enough."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from said_lightning.config.schema import Config
from said_lightning.errors import UserError
from said_lightning.models.build import build_subspace
from said_lightning.subspace.lr_rule import LAMBDA_LR, STEP_RATIO
from said_lightning.subspace.optimizers import faster, holds, take_over
from said_lightning.subspace.subspace import Subspace
from said_lightning.training.ddp import validate_strategy
from said_lightning.training.growing import Grow, sizes

log = logging.getLogger(__name__)


class SubspaceCallback(Callback):
    """Trains a LightningModule in a random subspace, whatever its loss, model and data.

    Pass it to Lightning's `Trainer(callbacks=[SubspaceCallback(d=500, method="said", seed=0)])`.

    The module stays as it is. The optimizer that it makes of its weights, at a rate that is good
    for full training, trains the subspace's numbers in their place, and during each step its rate
    is multiplied by what the rule of Subspace.lr asks for, with step_ratio, and that of lambda is
    lambda_lr, with the same rise and fall; schedulers go on as they are. An optimizer that the
    module makes of `self.subspace.trainable_parameters()` (or `parameter_groups(full_lr=...)`)
    keeps its own rates.

    The module's weights are theta_0 + lambda P theta after each step, so evaluation, checkpoints
    and `load_from_checkpoint` know nothing of the subspace, and an ordinary module is left. theta
    and lambda are in a checkpoint as this callback's state; a fit goes on from it.

    Args:
        d: every trained number, as for Subspace.
        of: the part of the module that is meant, "model" say; by default all of it.
        make: takes that part and returns a Subspace, in place of d and the keywords.
        step_ratio: how far a step of theta moves the weights, as a multiple of full training's.
        lambda_lr: the rate of lambda.
        **options: the keywords of Subspace.
    """

    def __init__(
        self,
        d: int | None = None,
        *,
        of: str = "",
        make: Callable[[nn.Module], Subspace] | None = None,
        step_ratio: float = STEP_RATIO,
        lambda_lr: float = LAMBDA_LR,
        **options: Any,
    ) -> None:
        self.make = maker(type(self).__name__, d, make, options)
        self.of = of
        self.step_ratio = step_ratio
        self.lambda_lr = lambda_lr
        self.subspace: Subspace | None = None
        self._weights_loaded: bool | None = None  # None without a checkpoint
        self._training = ExitStack()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the subspace, before the model is moved and the optimizer made.

        Raise UserError for a strategy that does not suit it, and as Subspace.
        """
        if wrong := validate_strategy(trainer):
            raise UserError(*wrong)
        if stage != "fit" or (self.subspace and _subspace_of(pl_module) is self.subspace):
            return
        self.subspace = self.make(pl_module.get_submodule(self.of))
        # It is no module, so the module's own parameters and state stay as they are.
        pl_module.subspace = self.subspace  # type: ignore[assignment]

    def state_dict(self) -> dict[str, Any]:
        """Return theta and lambda."""
        return dict(self.subspace.state_dict()) if self.subspace else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over theta and lambda."""
        if self.subspace:
            self.subspace.load_state_dict(state_dict)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note whether the checkpoint holds weights. Raise UserError where it holds no theta."""
        if self.state_key not in checkpoint["callbacks"]:
            raise UserError("the checkpoint is of a fit without SubspaceCallback: it has no theta")
        start = f"{self.of}." if self.of else ""
        inside = self.subspace.groups.values() if self.subspace else []
        names = {f"{start}{name}" for tensors in inside for name in tensors}
        self._weights_loaded = bool(names & set(checkpoint["state_dict"]))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put hooks on the weights and the optimizer, which now exist on their device.

        Raise UserError where the module makes an optimizer that theta cannot be trained with.
        """
        assert self.subspace is not None
        if self._weights_loaded:
            self.subspace.adopt()
        if len(trainer.optimizers) != 1:
            raise UserError(f"configure_optimizers: expected 1 optimizer, got {trainer.optimizers}")
        if wrong := validate_start(trainer, self.subspace.weights()):
            raise UserError(*wrong)
        (optimizer,) = trainer.optimizers
        numbers = self.subspace.numbers()
        if not holds(optimizer, numbers):
            take_over(optimizer, numbers, self.subspace.weights())
            factor = self.subspace.lr(1.0, self.step_ratio)
            self._training.enter_context(faster(optimizer, numbers, factor, self.lambda_lr))
            log.info("theta's rate is %.3g times that of configure_optimizers", factor)
        self._training.enter_context(self.subspace.training(optimizer))
        if self._weights_loaded is False:
            # Not before: weights that stand are never written, to the bit.
            self.subspace.write()
        self._weights_loaded = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have all weights written before others look at them."""
        if self.subspace is not None:
            self.subspace.flush()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave an ordinary model behind."""
        self._training.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave an ordinary model behind after a failure too, which tears no callback down."""
        self._training.close()


def validate_start(trainer: Trainer, weights: Iterable[Tensor]) -> list[str]:
    """Return a message where several processes begin with different weights.

    They send d numbers, never the weights: each writes its own, as theta is the same.
    """
    if trainer.world_size == 1:
        return []
    total = torch.stack([weight.detach().double().sum() for weight in weights]).sum()
    reduce = trainer.strategy.reduce  # in place
    if torch.equal(reduce(total.clone(), reduce_op="max"), -reduce(-total, reduce_op="max")):
        return []
    return ["the processes begin with different weights: expected seed_everything(SEED) first"]


def maker(
    owner: str,
    d: int | None,
    make: Callable[[nn.Module], Subspace] | None,
    options: Mapping[str, Any],
) -> Callable[[nn.Module], Subspace]:
    """Return what makes a callback's subspace of a model: `make`, or Subspace with d and keywords.

    Raise UserError, which names the callback `owner`, for neither of them and for both.
    """
    if (d is None) == (make is None) or (make and options):
        raise UserError(f"{owner}: expected d and Subspace's keywords, or make alone")
    keywords: dict[str, Any] = {"d": d, **options}
    return make or partial(Subspace, **keywords)


def _subspace_of(module: LightningModule) -> object:
    return getattr(module, "subspace", None)


def in_subspace(config: Config) -> Iterator[Callback]:
    """Yield the callbacks that train a config's subspace, none where there is none."""
    if config.method.name not in ("did", "said"):
        return
    yield SubspaceCallback(make=partial(build_subspace, config=config), of="model")
    if (first := config.trainer.grow_from) is not None:
        yield Grow(sizes(first, config.d, config.trainer.epochs))


class StopAt(Callback):
    """Ends training after the first epoch whose `metric` on the select rows reaches `value`.

    None never does. The learning rate's schedule stays that of the whole run, so that a run that is
    not ended is the same with and without this. A run cut off between that epoch's end and its own
    has ended all the same when it is resumed.
    """

    def __init__(self, metric: str, value: float | None) -> None:
        self.metric = metric
        self.value = value
        self.reached = False

    def state_dict(self) -> dict[str, Any]:
        """Return whether the value was reached; it is asked for after the epoch was looked at."""
        return {"reached": self.reached}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what the legs before have found."""
        self.reached = state_dict["reached"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train no further where the value was reached before."""
        trainer.should_stop = trainer.should_stop or self.reached

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the epoch's metric; Lightning evaluates before it calls this."""
        value = float(trainer.callback_metrics[f"select/{self.metric}"])
        if self.value is not None and value >= self.value:
            trainer.should_stop = self.reached = True
