"""The ways to fine-tune that are compared, each on a model of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from said_lightning.errors import needs
from said_lightning.subspace.options import Method, Origin
from said_lightning.subspace.subspace import Subspace

Batch = dict[str, Tensor]
RATE = 1e-4  # of every contender: steps are timed, not judged


@dataclass
class Contender:
    """A model and what trains it, through a subspace or not."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    space: Subspace | None = None

    def step(self, batch: Batch) -> None:
        """Train a step."""
        self.model(**batch).loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


Make = Callable[[nn.Module, int], Contender]


def full(model: nn.Module, d: int, fused: bool | None = None) -> Contender:
    """Return full fine-tuning by AdamW, torch's default implementation or the fused one."""
    return Contender(model, torch.optim.AdamW(model.parameters(), lr=RATE, fused=fused))


def subspace(
    model: nn.Module,
    d: int,
    method: Method,
    origin: Origin = "copy",
    projection: str = "fastfood",
) -> Contender:
    """Return SAID or DID with d numbers."""
    space = Subspace(model, d, method=method, origin=origin, projection=projection, lazy=True)
    space.attach()
    optimizer = torch.optim.AdamW(space.trainable_parameters(), lr=RATE)
    optimizer.register_step_post_hook(lambda *_: space.write())
    return Contender(model, optimizer, space)


def adapter(model: nn.Module, d: int, kind: str, on: str | None = None) -> Contender:
    """Return LoRA of rank 8 or VeRA of rank 256 through PEFT, on queries and values by default.

    Raise UserError where PEFT is not installed.
    """
    settings: Any = {"target_modules": on or ["query", "value"], "task_type": "SEQ_CLS"}
    peft = needs("peft", "lora", f"the contender {kind}")
    rank = 8 if kind == "lora" else 256
    config = (peft.LoraConfig if kind == "lora" else peft.VeraConfig)(r=rank, **settings)
    adapted = peft.get_peft_model(model, config)
    trained = [weight for weight in adapted.parameters() if weight.requires_grad]
    return Contender(adapted, torch.optim.AdamW(trained, lr=RATE))


SUBSPACES: dict[str, Make] = {
    "said": partial(subspace, method="said"),
    "said, no copy": partial(subspace, method="said", origin="none"),
    "did": partial(subspace, method="did"),
    "said kronecker": partial(subspace, method="said", projection="kronecker"),
    "said kronecker, no copy": partial(
        subspace, method="said", projection="kronecker", origin="none"
    ),
}
CONTENDERS: dict[str, Make] = {
    "full": full,
    "full, fused": partial(full, fused=True),
    "lora r=8": partial(adapter, kind="lora"),
    "lora r=8, all": partial(adapter, kind="lora", on="all-linear"),
    "vera r=256": partial(adapter, kind="vera"),
    **SUBSPACES,
}
