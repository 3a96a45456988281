"""The Lightning Trainer of a run, and what its record says of the place."""

import logging
import platform
import warnings
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins.precision import MixedPrecision

from said_lightning.config.schema import Config
from said_lightning.training.checkpointing import SafeCheckpointIO
from said_lightning.training.ddp import SubspaceStrategy

VERSIONED = ("said_lightning", "torch", "pytorch-lightning", "transformers", "datasets", "numba")


def quiet() -> None:
    """Keep Lightning's tips and notes on its own workings out of the log."""
    for logger in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    for message in (".*does not have many workers.*", ".*LeafSpec.*", ".*`srun` command.*"):
        warnings.filterwarnings("ignore", message)


def make_trainer(config: Config, folder: Path, callbacks: list[Callback]) -> Trainer:
    """Make the Lightning Trainer, without a bar: the launcher shows one for all runs.

    It has no logger, since Lightning counts epochs from 0 and a step less than was made: the
    journal and Curves send rows to one that agree with metrics.jsonl.
    """
    quiet()
    settings = config.trainer
    precision: Any = settings.precision
    float16 = precision == "16-mixed"
    return Trainer(
        max_epochs=settings.epochs,
        precision=None if float16 else precision,
        gradient_clip_val=settings.clip or None,
        accumulate_grad_batches=settings.accumulate,
        callbacks=callbacks,
        plugins=[SafeCheckpointIO(), *([float16_plugin()] if float16 else [])],
        logger=False,
        default_root_dir=folder,
        devices=settings.devices,
        strategy="auto" if settings.devices == 1 else SubspaceStrategy(),
        use_distributed_sampler=False,  # it would shuffle its own way
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
    )


def float16_plugin() -> MixedPrecision:
    """Make what Lightning makes for 16-mixed, on a CPU too, where Lightning takes bfloat16."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return MixedPrecision("16-mixed", found.type if found else "cpu")


def setting() -> dict[str, Any]:
    """Return what a record says of where its run was made."""
    versions = {}
    for name in VERSIONED:
        with suppress(PackageNotFoundError):  # of an extra
            versions[name] = version(name)
    return {
        "versions": versions | {"python": platform.python_version()},
        "threads": torch.get_num_threads(),
    }
