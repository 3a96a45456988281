"""On a GPU: what SAID costs beside fused AdamW and a copy, with plain loops and through Lightning.

Without a GPU everything runs to its end in Triton's interpreter, on a toy, and is unmeasured.
"""

import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

if not (GPU := torch.cuda.is_available()):
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported

import pytorch_lightning as pl
from torch import nn

from said_lightning.projections.core.engine import ENGINES
from said_lightning.tools.bench.claims import Claim, assert_all
from said_lightning.tools.bench.measure import (
    DEVICE,
    make_batch,
    projection_times,
    ratio,
    step_times,
    update_times,
)
from said_lightning.tools.bench.models import MODELS
from said_lightning.training.callbacks import SubspaceCallback

if not GPU:
    ENGINES["cpu"] = "triton"

LARGE, SMALL = ("roberta-large", "bert-minilm") if GPU else ("bert-toy", "bert-toy")
WIDE, SHORT = ((32, 128), (32, 64)) if GPU else ((2, 8), (2, 4))
MIXED = [(32, tokens) for tokens in (128, 40, 96, 64)] if GPU else [(2, 8), (2, 4)]
ROUNDS, STEPS = (15, 20) if GPU else (1, 2)
PAIR = ["full, fused", "said"]
D = 1000 if GPU else 60


class Module(pl.LightningModule):
    """A model and fused AdamW."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss."""
        loss: torch.Tensor = self.model(**batch).loss
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make fused AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=1e-4, fused=True)


class Clock(pl.Callback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Wait for the device, then look at the clock."""
        if GPU:
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


def lightning_step(model: str, callbacks: list[pl.Callback]) -> float:
    """Return the median seconds of a step through Lightning."""
    module, clock = Module(MODELS[model]().train()), Clock()
    batch = {name: part.cpu() for name, part in make_batch(module.model, *WIDE).items()}
    trainer = pl.Trainer(
        accelerator="gpu" if GPU else "cpu",
        devices=1,
        precision="bf16-mixed" if GPU else "32-true",
        max_steps=STEPS,
        callbacks=[*callbacks, clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader: Any = torch.utils.data.DataLoader([batch] * STEPS, batch_size=None)  # type: ignore[arg-type]
    trainer.fit(module, loader)
    times = [end - begin for begin, end in zip(clock.ends, clock.ends[1:], strict=False)]
    return median(times[STEPS // 4 :])


def medians(times: dict[str, list[float]]) -> dict[str, float]:
    """Return the median of each."""
    return {name: median(taken) for name, taken in times.items()}


with torch.autocast(DEVICE, torch.bfloat16, enabled=GPU):
    large = step_times(PAIR, LARGE, D, [WIDE], ROUNDS)
    mixed = step_times(PAIR, LARGE, D, MIXED, ROUNDS)
    small = step_times(PAIR, SMALL, D, [SHORT], ROUNDS)
    updates = update_times(PAIR, LARGE, D, WIDE, ROUNDS)
alone = medians(projection_times(LARGE, [D, 10_000] if GPU else [D], ROUNDS))
cheap = medians(projection_times(LARGE, [D], ROUNDS, "partition"))
through = lightning_step(LARGE, [SubspaceCallback(D)]) / lightning_step(LARGE, [])

both = [alone[f"{way} {D}"] for way in ("project", "pull back")]
claims = [
    Claim(f"SAID step / full fused step, {LARGE}", ratio(large, *reversed(PAIR)), most=1.03),
    Claim("the same, batches of mixed lengths", ratio(mixed, *reversed(PAIR)), most=1.03),
    Claim("the same, through Lightning", through, most=1.03),
    Claim(f"SAID step / full fused step, {SMALL}", ratio(small, *reversed(PAIR)), most=1.1),
    Claim("update / fused AdamW's pass", ratio(updates, *reversed(PAIR)), most=1.5),
    Claim("project / copy", both[0] / alone["copy"], most=2.0),
    Claim("pull_back / copy", both[1] / alone["copy"], most=2.0),
    Claim(
        "partition's project and pull_back / fastfood's",
        sum(cheap[f"{way} {D}"] for way in ("project", "pull back")) / sum(both),
        most=1.0,
    ),
]
if not GPU:
    print("unmeasured: there is no GPU; all of it ran on a toy in Triton's interpreter")
    sys.exit()
if sys.argv[1:]:
    found = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "ratios": {claim.text: claim.value for claim in claims},
        "step_s": medians(large) | {f"mixed: {name}": t for name, t in medians(mixed).items()},
        "update_s": medians(updates),
        "projection_s": alone | {f"partition: {name}": t for name, t in cheap.items()},
    }
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n")
assert_all(claims)
