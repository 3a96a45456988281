"""Subspace training without an autograd graph through the projection.

Gradients are pulled back as they arise and freed (gradients.py). Weights are written in place after
each step: theta_i = theta_{0,i} + lambda_i P(theta)_i (arXiv 2012.13255, eq. 3; 1 without lambda).
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from said_lightning.errors import UserError
from said_lightning.projections import build
from said_lightning.subspace.gradients import Gradients
from said_lightning.subspace.groups import Groups, budget, size, split_head, validate_budget
from said_lightning.subspace.lazy import large_tables
from said_lightning.subspace.lr_rule import FULL_LR, LAMBDA_LR, STEP_RATIO, learning_rate
from said_lightning.subspace.matrices import Matrices, find_layers
from said_lightning.subspace.optimizers import mark, marked, require_optimizer
from said_lightning.subspace.options import (
    Head,
    Method,
    Origin,
    Quantized,
    validate_options,
    validate_unchanged,
    validate_weights,
)
from said_lightning.subspace.quantized import is_quantized, shape_of, validate_quantized
from said_lightning.subspace.writing import Writer


class Subspace:
    """The d trained numbers of a model and the way between them and its weights.

    theta, which starts at 0, and for SAID lambdas, one for each group, which start at 1, are what
    is trained. The model keeps plain weights, which are theta_0 + lambda P theta after each step of
    an optimizer inside `training`. Make the subspace when the model is complete and its weights are
    loaded; it may be moved to a GPU afterwards.

    `theta` has d - m numbers and `lambdas` m, which is 0 for DID. `D` counts the trainable weights
    inside, tied ones once, `outside` those of a head outside, and `full_D` all. `groups` names the
    tensors of each group; `projection` is P.

    Args:
        model: any torch module.
        d: every trained number, theta and lambdas together.
        method: "said", or "did" without lambdas.
        groups: what shares a lambda: a "layer", a "tensor", or {"name": ["tensor or module", ...]}.
        head: "outside" leaves the classification head of a transformers model to ordinary training.
        origin: "copy" keeps theta_0 (D numbers) and writes exactly; "none" keeps none, at the price
            of a rounding drift (projection="kronecker": of none).
        quantized: "inside" moves weights in 4 or 8 bits too (bitsandbytes, torchao), by what their
            layers add to their output from then on, for kronecker alone; "outside" leaves them.
        projection: what P is, one of `said_lightning.projections.names()`.
        seed: of P.
        lazy: write large word embeddings no sooner than they are read; set it only where nothing
            but their own modules' forward passes and `state_dict` read them.
        **options: the projection's own options, such as `gradient` of released.

    Raises:
        UserError: an unknown option or value, a d that does not exceed m or exceeds D, a model
            without trainable or with unallocated weights, origin="none" on 16-bit weights, and
            quantized weights that no layer can add to; all at once.
    """

    def __init__(
        self,
        model: nn.Module,
        d: int,
        *,
        method: Method = "said",
        groups: Groups = "layer",
        head: Head = "inside",
        origin: Origin = "copy",
        quantized: Quantized = "outside",
        projection: str = "fastfood",
        seed: int = 0,
        lazy: bool = False,
        **options: Any,
    ) -> None:
        chosen = method, groups, head, origin, quantized, projection
        if wrong := validate_options(*chosen, options):
            raise UserError(*wrong)
        inside, outside = split_head(model, head, quantized)
        self.groups, self.D = budget(model, method, groups, head, quantized)
        self.m = len(self.groups) if method == "said" else 0
        self.d = d
        self.outside = sum(weight.numel() for weight in outside.values())
        self.full_D = self.D + self.outside
        # What is exact adds no differences.
        self._drift = origin == "none" and projection != "kronecker"
        if wrong := validate_budget(d, self.m, self.D) + validate_weights(inside, self._drift):
            raise UserError(*wrong)
        self._model, self._weights, self._outside = model, inside, outside
        shapes = {name: shape_of(weight) for name, weight in inside.items()}
        self.projection = build(projection, shapes, d - self.m, seed, **options)
        self.projection.take(inside)
        device = next(iter(inside.values())).device
        self.theta = nn.Parameter(torch.zeros(d - self.m, device=device))
        self.lambdas = nn.Parameter(torch.ones(self.m, device=device))
        self.origin = origin
        self._gradients = Gradients(self.projection, self.theta, self.lambdas)
        self._connect(large_tables(model, inside) if lazy else {})
        mark(self.theta, False)

    def _connect(self, large: Mapping[str, nn.Embedding]) -> None:
        """Decide how each weight is moved and pulled back."""
        layers = find_layers(self._model, self.projection, self._weights)
        if wrong := validate_quantized(self._weights, layers):
            raise UserError(*wrong)
        none = self.origin == "none"
        written = {n: weight for n, weight in self._weights.items() if not is_quantized(weight)}
        quantized = self._weights.keys() - written.keys()
        self._standing = set(layers) if none else layers.keys() & large.keys() | quantized
        # Where matrices stand, copies of the little that is left make all exact.
        keep = set() if self._drift else written.keys() - (self._standing if none else set())
        numbers = self.theta, self.lambdas
        self._writer = Writer(self.projection, *numbers, self.groups, written, keep)
        self._matrices = Matrices(layers, self.projection, self._gradients, self._writer)
        self._large = {} if none else large

    def trainable_parameters(self) -> list[nn.Parameter]:
        """List what an optimizer is to train: theta, lambdas for SAID, and a head outside.

        Each needs a rate of its own, as `parameter_groups` has them.
        """
        return [*self.numbers(), *self._outside.values()]

    def parameter_groups(
        self, full_lr: float = FULL_LR, step_ratio: float = STEP_RATIO, lambda_lr: float = LAMBDA_LR
    ) -> list[dict[str, Any]]:
        """Return an optimizer's groups: theta at `lr`, lambdas at lambda_lr, a head at full_lr.

        Weight decay is 0 for theta and lambdas: it would pull the weights to theta_0, not to 0.
        """
        rate = self.lr(full_lr, step_ratio)
        groups: list[dict[str, Any]] = [{"params": [self.theta], "lr": rate, "weight_decay": 0.0}]
        if self.m:
            groups.append({"params": [self.lambdas], "lr": lambda_lr, "weight_decay": 0.0})
        if self._outside:
            groups.append({"params": list(self._outside.values()), "lr": full_lr})
        return groups

    def numbers(self) -> list[nn.Parameter]:
        """List the d numbers: theta, and lambdas for SAID."""
        return [self.theta, self.lambdas] if self.m else [self.theta]

    def weights(self) -> list[nn.Parameter]:
        """List the weights inside the subspace."""
        return list(self._weights.values())

    def head(self) -> dict[str, nn.Parameter]:
        """Return the weights of a head outside the subspace by name."""
        return self._outside

    def lr(self, full_lr: float = FULL_LR, step_ratio: float = STEP_RATIO) -> float:
        """Return theta's rate by the rule of lr_rule.py, from full training's good rate full_lr."""
        # The rule is for an isometry.
        return learning_rate(self.d, self.full_D, full_lr, step_ratio) / self.projection.gain**0.5

    @contextmanager
    def training(self, optimizer: Optimizer) -> Iterator[None]:
        """Train in the subspace: an ordinary loop goes inside, and an ordinary model is left.

        After each step of the optimizer, which accelerate may have prepared, the weights are
        written and its gradients cleared. Raise UserError where it is not an optimizer of
        `trainable_parameters`, or one of several processes; RuntimeError where a step finds no
        gradient, the model is in training already, or its weights are others than they were.
        """
        numbers = self.trainable_parameters()
        optimizer = require_optimizer(optimizer, numbers, self.weights())

        def write_through(*_: object) -> None:
            self._gradients.require()
            self.write()
            optimizer.zero_grad()

        self.attach()
        mark(self.theta, id(optimizer))
        handle = optimizer.register_step_post_hook(write_through)
        try:
            yield
        finally:
            handle.remove()
            self.detach()
            optimizer.zero_grad()

    def attach(self) -> None:
        """Put hooks on the weights: each gradient is pulled back and freed as it arises.

        What `training` does first; `write` after each step and `detach` in the end are left to the
        caller. Raise RuntimeError where the weights are hooked already, or are not those that the
        subspace was made of.
        """
        if any(marked(weight) for weight in self._weights.values()):
            raise RuntimeError(
                "the model is in training through a subspace already: expected one "
                "space.training() at a time"
            )
        wrong = validate_weights(self._weights, self._drift)
        wrong = wrong or validate_unchanged(self._model, self._weights, self._writer.changed())
        if wrong:
            raise RuntimeError("\n".join(wrong))
        self._follow()
        self._gradients.hook(self.groups, self._writer.weights)
        for tensor in (self.theta, *self._weights.values()):
            mark(tensor, True)
        self._writer.defer(self._large)
        self._matrices.attach(self._standing)

    def detach(self) -> None:
        """Remove the hooks; all weights are written then."""
        if not marked(self.theta):
            return
        self._matrices.detach()
        self._writer.settle()
        self._gradients.unhook()
        for weight in self._weights.values():
            mark(weight, None)
        mark(self.theta, False)

    def materialize(self) -> nn.Module:
        """Return the model, an ordinary one: theta_0 + lambda P theta written, no hooks.

        Layers of quantized weights inside go on adding lambda P theta to their output.
        """
        self.write()
        self.detach()
        return self._model

    def write(self) -> None:
        """Write theta_0 + lambda P theta into the model's weights, in place."""
        self._follow()
        self._writer.write()

    def adopt(self) -> None:
        """Take the model's weights, loaded with theta, for theta_0 + lambda P theta."""
        self._follow()
        self._writer.adopt()

    def flush(self) -> None:
        """Write what `write` left to forward passes, for whoever reads the weights otherwise."""
        self._writer.flush()

    @property
    def exact(self) -> bool:
        """Whether theta and lambda say what the weights are, with no drift of differences."""
        return self._standing | self._writer.origin.keys() == self._weights.keys()

    def held(self) -> AbstractContextManager[None]:
        """Let a `state_dict` whose weights are dropped find those that wait as they are."""
        return self._writer.held()

    def sizes(self) -> dict[str, int]:
        """Return the number of weights of each group, in order."""
        return {
            group: sum(size(self._weights[name]) for name in tensors)
            for group, tensors in self.groups.items()
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Return theta and lambdas: all that a checkpoint needs besides the model as it began."""
        return {"theta": self.theta.detach(), "lambdas": self.lambdas.detach()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over theta and lambdas; `write` or `materialize` then writes the weights.

        Raise UserError where they are those of another d or m.
        """
        sizes = {name: len(numbers) for name, numbers in self.state_dict().items()}
        if sizes != (found := {name: len(numbers) for name, numbers in state.items()}):
            raise UserError(f"the state of another subspace: expected {sizes}, found {found}")
        for name, numbers in self.state_dict().items():
            numbers.copy_(state[name])

    def to(self, target: torch.device | torch.dtype | str) -> "Subspace":
        """Move theta, lambdas and theta_0 in place; 16 bits are for the weights alone."""

        def move(numbers: Tensor) -> Tensor:
            moved = numbers.to(target)
            return moved if moved.dtype.itemsize >= 4 else numbers.to(moved.device)

        for number in (self.theta, self.lambdas):
            number.data = move(number.data)
            number.grad = None if number.grad is None else move(number.grad)
        self._writer.move(move)
        return self

    def _follow(self) -> None:
        """Move to where the model was moved."""
        if (device := next(iter(self._weights.values())).device) != self.theta.device:
            self.to(device)
