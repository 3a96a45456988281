"""What a logger draws: what a run trains, and the numbers of every n-th step."""

from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor
from torch.optim import Optimizer

from said_lightning.subspace.subspace import Subspace
from said_lightning.training.loggers import Sink


class Curves(Callback):
    """Sends a step's loss, rate and norms, and lambda, every `every` steps.

    `step/loss` is the loss of the step's rows, `step/lr` the rate (theta's in a subspace),
    `step/grad_norm` the norm of the gradient before it is clipped, all of the step itself; in a
    subspace `step/delta_norm` is |lambda P theta| after it, how far the weights are from theta_0,
    and `lambda/GROUP` each group's lambda. They change no bit of the training.
    """

    def __init__(self, sink: Sink, every: int) -> None:
        self.sink = sink
        self.every = every
        self._losses: list[Tensor] = []
        self._row: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Send what is trained, which is known once the subspace and the optimizer are made."""
        self.sink.about(pl_module.trained())

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: Any, optimizer: Optimizer
    ) -> None:
        """Take down the gradient and the rate of a step that is due."""
        if (trainer.global_step + 1) % self.every:
            return
        space = pl_module.subspace
        weights = pl_module.parameters() if space is None else [space.theta]
        grads = [weight.grad for weight in weights if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        self._row = {"step/lr": optimizer.param_groups[0]["lr"], "step/grad_norm": float(norm)}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Send the numbers of a step that is due."""
        self._losses.append(outputs["loss"])
        if trainer.fit_loop._should_accumulate():
            return
        losses, self._losses = self._losses, []
        if not self._row:
            return
        row, self._row = self._row, {}
        # Lightning divides each by the number of batches in a whole step.
        loss = torch.stack(losses).mean() * trainer.accumulate_grad_batches
        row["step/loss"] = float(trainer.strategy.reduce(loss, reduce_op="mean"))
        if trainer.is_global_zero:
            row |= moved(pl_module.subspace) if pl_module.subspace else {}
            epoch, step = trainer.current_epoch + 1, trainer.global_step
            self.sink.log({"epoch": epoch, "step": step, **row})


@torch.no_grad()
def moved(space: Subspace) -> dict[str, float]:
    """Return |lambda P theta| over all weights, exactly, and SAID's lambda by group."""
    scales = space.lambdas.tolist() if space.m else [1.0] * len(space.groups)
    square = 0.0
    for scale, tensors in zip(scales, space.groups.values(), strict=True):
        for name in tensors:
            delta = space.projection.project(space.theta.detach(), name)
            square += (scale * float(torch.linalg.vector_norm(delta))) ** 2
    lambdas = zip(space.groups, scales, strict=True) if space.m else ()
    return {"step/delta_norm": square**0.5} | {f"lambda/{group}": one for group, one in lambdas}
