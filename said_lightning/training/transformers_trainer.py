"""The callback with which transformers' Trainer, and so TRL's trainers, train in a subspace."""

import logging
import math
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn
from torch.optim import Optimizer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState
from transformers.training_args import ParallelMode

from said_lightning.errors import UserError
from said_lightning.subspace.lr_rule import LAMBDA_LR, STEP_RATIO
from said_lightning.subspace.optimizers import (
    ONE_DEVICE,
    faster,
    holds,
    lent,
    moments,
    unwrapped,
)
from said_lightning.subspace.subspace import Subspace
from said_lightning.training.callbacks import maker
from said_lightning.training.packing import pack, unpack

log = logging.getLogger(__name__)

STATE_FILE = "trainer_state.json"


class SubspaceTrainerCallback(TrainerCallback, ExportableState):
    """Trains the model of transformers' Trainer in a random subspace, TRL's trainers among them.

    `Trainer(..., callbacks=[SubspaceTrainerCallback(d=500, method="said", seed=0)])`. It needs
    accelerate, as Trainer does.

    TrainingArguments stay those of full training. The optimizer that Trainer makes, or is given,
    trains the subspace's numbers in place of the weights, without weight decay; during each step
    its rate is multiplied by what the rule of Subspace.lr asks for, with step_ratio, and that of
    lambda is lambda_lr, with the same rise and fall. An optimizer of the subspace's own numbers,
    with `make`, keeps its rates. max_grad_norm clips theta and lambda together.

    The model's weights are theta_0 + lambda P theta after each step: evaluation, save_model and
    checkpoints know nothing of the subspace, and an ordinary model is left. A checkpoint's
    trainer_state.json holds theta, lambda and what the optimizer keeps of them; training goes on
    from it. `subspace` is the Subspace, after load_best_model_at_end with the best model's numbers.

    Trainer says nothing to callbacks when training fails: `close` then leaves an ordinary model.
    UserError is raised for several devices, a second callback, an optimizer that theta cannot be
    trained with, and a checkpoint of another training.

    Args:
        d: every trained number, as for Subspace.
        make: takes the model and returns a Subspace, in place of d and the keywords.
        step_ratio: how far a step of theta moves the weights, as a multiple of full training's.
        lambda_lr: the rate of lambda.
        **options: the keywords of Subspace.
    """

    def __init__(
        self,
        d: int | None = None,
        *,
        make: Callable[[nn.Module], Subspace] | None = None,
        step_ratio: float = STEP_RATIO,
        lambda_lr: float = LAMBDA_LR,
        **options: Any,
    ) -> None:
        self.make = maker(type(self).__name__, d, make, options)
        self.step_ratio = step_ratio
        self.lambda_lr = lambda_lr
        self.subspace: Subspace | None = None
        self._arguments = {"d": d, "step_ratio": step_ratio, "lambda_lr": lambda_lr, **options}
        self._made_anew = make is None
        self._model: nn.Module | None = None
        self._optimizer: Optimizer | None = None  # in training alone
        self._state: TrainerState | None = None
        self._moments: list[dict[str, Any]] = []  # what the optimizer keeps, between trainings
        self._norm = 0.0
        self._training = ExitStack()

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **now: Any
    ) -> None:
        """Make the subspace, before a checkpoint's weights are loaded.

        Raise UserError for a Trainer of several devices, and as Subspace.
        """
        if wrong := validate_arguments(args, self._made_anew):
            raise UserError(*wrong)
        self._make(now["model"])

    def _make(self, model: nn.Module) -> Subspace:
        """Make the subspace of a model, unless it is there."""
        if self.subspace is None or self._model is not model:
            self.subspace, self._model, self._moments = self.make(model), model, []
        return self.subspace

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **now: Any
    ) -> None:
        """Put hooks on the weights and the optimizer, and go on from a checkpoint's numbers.

        Raise UserError where theta cannot be trained with the optimizer, for a second callback and
        for a checkpoint of another subspace; RuntimeError where the model was changed meanwhile.
        """
        model: nn.Module = now["model"]
        _let_go(model, self, state)
        if wrong := validate_arguments(args, self._made_anew):
            raise UserError(*wrong)
        subspace = self._make(model)
        if state.global_step:
            self._take(state, "the checkpoint")
        try:
            self._begin(subspace, now["optimizer"])
        except BaseException:
            self.close()
            raise
        # Loaded weights, the best model's at the end, are no longer those of theta.
        handle = model.register_load_state_dict_pre_hook(lambda *_: subspace.detach())
        self._training.callback(handle.remove)
        self._optimizer, self._state = unwrapped(now["optimizer"]), state
        _at_work[model] = self

    def _begin(self, subspace: Subspace, prepared: Optimizer) -> None:
        """Let the optimizer train the numbers, with what it kept of them."""
        numbers, optimizer = subspace.numbers(), unwrapped(prepared)
        if not holds(optimizer, numbers):
            weights = subspace.weights()
            self._training.enter_context(lent(optimizer, numbers, weights, self._moments))
            factor = subspace.lr(1.0, self.step_ratio)
            self._training.enter_context(faster(optimizer, numbers, factor, self.lambda_lr))
            log.info("theta's rate is %.3g times that of TrainingArguments", factor)
        self._training.enter_context(subspace.training(prepared))

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **now: Any
    ) -> None:
        """Clip the gradients of theta and lambda, of which Trainer knows nothing."""
        assert self.subspace is not None
        limit = args.max_grad_norm if args.max_grad_norm > 0 else math.inf
        self._norm = float(nn.utils.clip_grad_norm_(self.subspace.numbers(), limit))

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **now: Any
    ) -> None:
        """Clear the gradients of a step that was skipped too, since fp16 overflowed."""
        assert self.subspace is not None
        for number in self.subspace.numbers():
            number.grad = None

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **now: Any
    ) -> None:
        """Put the norm of theta's and lambda's gradient in place of that of the weights', 0."""
        for logs in (now["logs"], *state.log_history[-1:]):
            if "grad_norm" in logs:
                logs["grad_norm"] = self._norm

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **now: Any
    ) -> None:
        """Have all weights written before others look at them."""
        assert self.subspace is not None
        self.subspace.flush()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **now: Any
    ) -> None:
        """Leave an ordinary model behind, and the best model's numbers where that was loaded."""
        self.close()
        if args.load_best_model_at_end and (best := state.best_model_checkpoint):
            self._take(TrainerState.load_from_json(str(Path(best) / STATE_FILE)), best)

    def close(self) -> None:
        """Leave an ordinary model behind, after a failure that Trainer says nothing of too."""
        # This holds the model, which would stay with what stays there.
        if self._model is not None and _at_work.get(self._model) is self:
            del _at_work[self._model]
        self._optimizer = self._state = None
        self._training.close()

    def state(self) -> dict[str, Any]:
        """Return theta, lambda and the optimizer's moments as what JSON can hold."""
        found: dict[str, Any] = {"args": self._arguments, "attributes": {}}
        if self.subspace is None:
            return found
        if self._optimizer is not None:
            self._moments[:] = moments(self._optimizer, self.subspace.numbers())
        numbers = {**self.subspace.state_dict(), "moments": self._moments}
        text = b64encode(b"".join(pack(numbers))).decode()
        return {**found, **_outline(self.subspace), "numbers": text}

    def _take(self, state: TrainerState, where: str) -> None:
        """Take over the numbers of a checkpoint whose weights are loaded."""
        assert self.subspace is not None
        name = type(self).__name__
        # A dict of what callbacks' states hold, whatever its annotation says.
        callbacks: Any = state.stateful_callbacks or {}
        saved = callbacks.get(name, {})
        if "numbers" not in saved:
            raise UserError(f"{where} is of a training without {name}: it has no theta")
        outline = _outline(self.subspace)
        if other := [key for key, value in outline.items() if saved[key] != value]:
            raise UserError(
                *(f"{where}: {key} {saved[key]}: expected {outline[key]}" for key in other),
                "expected d, method, projection, seed and the model as they were",
            )
        numbers = unpack(b64decode(saved["numbers"]))
        self._moments = numbers.pop("moments")
        self.subspace.load_state_dict(numbers)
        self.subspace.adopt()


# The callback that trains a model.
_at_work: WeakKeyDictionary[nn.Module, SubspaceTrainerCallback] = WeakKeyDictionary()


def _let_go(model: nn.Module, callback: SubspaceTrainerCallback, state: TrainerState) -> None:
    """Have a callback whose training failed let go of the model.

    Raise UserError where it is another one of the same training.
    """
    if (other := _at_work.get(model)) is None:
        return
    twice = other is not callback and other._state is state
    other.close()
    if twice:
        raise UserError(f"Trainer has more than one {type(callback).__name__}: expected one")


def _outline(subspace: Subspace) -> dict[str, Any]:
    """Return what numbers depend on besides the weights."""
    return {"sizes": subspace.sizes(), "P": subspace.projection.fingerprint()}


def validate_arguments(args: TrainingArguments, made_anew: bool) -> list[str]:
    """Return what of a Trainer's arguments does not suit a subspace."""
    found = []
    if args.parallel_mode != ParallelMode.NOT_PARALLEL or args.deepspeed or args.fsdp:
        found.append(f"Trainer with {args.parallel_mode}: {ONE_DEVICE}")
    if args.restore_callback_states_from_checkpoint and not made_anew:
        found.append(
            "restore_callback_states_from_checkpoint makes the callback anew, which `make` rules "
            "out: expected d and Subspace's keywords"
        )
    return found
