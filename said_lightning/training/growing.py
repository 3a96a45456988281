"""Growing d within one run: nested subspaces, warm-started, for an upper bound on d90.

The first k columns of P span a subspace of the first k + 1's, and are as isometric as all of them.
So a theta whose coordinates beyond k are held where they start trains k numbers, and growing is to
let go of more: neither P nor what it writes changes.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from said_lightning.runs.record import Stage

log = logging.getLogger(__name__)


def sizes(first: int, last: int, epochs: int) -> list[int]:
    """Return d in each epoch: from `first` to `last` in equal steps of log d."""
    return [round(d) for d in np.geomspace(first, last, epochs)]


def rise_and_fall(steps: int, warmup: float) -> Callable[[int], float]:
    """Return the factor of a rate at each step: in a share `warmup` of `steps` it rises to 1.

    Then it falls to 0, linearly, and begins anew.
    """
    rising = round(steps * warmup)

    def factor(step: int) -> float:
        place = step % steps
        return place / rising if place < rising else (steps - place) / (steps - rising)

    return factor


def schedule(optimizer: Optimizer, sizes: Sequence[int], steps: int, warmup: float) -> LambdaLR:
    """Return a schedule whose rate rises and falls anew in each epoch of `steps` steps.

    `warmup` is the share of an epoch in which it rises.

    The optimizer's first group is theta's, whose rate is that of the last size. At a smaller one
    it is larger as the rule has it (said_lightning.subspace.lr_rule), by sqrt(last / size).
    """
    rest = rise_and_fall(steps, warmup)

    def theta(step: int) -> float:
        epoch = min(step // steps, len(sizes) - 1)
        return rest(step) * (sizes[-1] / sizes[epoch]) ** 0.5

    return LambdaLR(optimizer, [theta, *[rest] * (len(optimizer.param_groups) - 1)])


class Grow(Callback):
    """Trains d = `sizes`[epoch] numbers in each epoch, theta's others being held where they start.

    With each epoch the optimizer starts anew: the moments of old and new coordinates are alike.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = list(sizes)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Forget the moments at an epoch's start, but not where a run is resumed inside one."""
        if batch_idx == 0:
            (optimizer,) = trainer.optimizers
            optimizer.state.clear()
            subspace: Any = pl_module.subspace
            outside = subspace.outside
            now, last = (self.sizes[i] + outside for i in (trainer.current_epoch, -1))
            log.info("d = %s of %s", f"{now:,}", f"{last:,}")

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Hold what is not trained yet: AdamW leaves alone what never had a gradient."""
        subspace: Any = pl_module.subspace
        subspace.theta.grad[self.sizes[trainer.current_epoch] - subspace.m :] = 0


def stages(
    callbacks: Iterable[Callback], values: Sequence[float], lr: float, outside: int
) -> list[Stage]:
    """Return each epoch's d, rate and metric (None where not reached) if a run's d grew.

    `values` are the metric of the epochs that were reached, `lr` is the rate at the last size,
    `outside` the numbers of a head that is trained beside theta in every epoch, and counts.
    """
    reached = dict(enumerate(values))
    return [
        Stage(d=d + outside, lr=lr * (one.sizes[-1] / d) ** 0.5, value=reached.get(epoch))
        for one in callbacks
        if isinstance(one, Grow)
        for epoch, d in enumerate(one.sizes)
    ]
