"""The Lightning Trainer of a run, and where it logs."""

import logging
import platform
import sys
import warnings
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import CSVLogger, Logger
from pytorch_lightning.plugins.precision import MixedPrecision

from said_lightning.config.identity import RunSpec
from said_lightning.config.schema import Config
from said_lightning.training.checkpointing import SafeCheckpointIO
from said_lightning.training.ddp import SubspaceStrategy
from said_lightning.training.loggers import open_wandb

VERSIONED = ("said_lightning", "torch", "pytorch-lightning", "transformers", "datasets", "numba")


def quiet() -> None:
    """Keep Lightning's tips and notes on its own workings out of the log."""
    for logger in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    for message in (".*does not have many workers.*", ".*LeafSpec.*", ".*`srun` command.*"):
        warnings.filterwarnings("ignore", message)


def make_trainer(
    config: Config, folder: Path, callbacks: list[Callback], logger: Logger | bool = False
) -> Trainer:
    """Make the Lightning Trainer: a progress bar on a terminal, none in a log."""
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
        logger=logger,
        default_root_dir=folder,
        devices=settings.devices,
        strategy="auto" if settings.devices == 1 else SubspaceStrategy(),
        use_distributed_sampler=False,  # it would shuffle its own way
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        num_sanity_val_steps=0,
    )


def float16_plugin() -> MixedPrecision:
    """Make what Lightning makes for 16-mixed, on a CPU too, where Lightning takes bfloat16."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return MixedPrecision("16-mixed", found.type if found else "cpu")


def make_logger(spec: RunSpec, notes: list[str]) -> Logger | bool:
    """Make the configured logger; False is none, as where W&B does not start."""
    config, labels = spec.config, spec.labels
    if config.logger.name == "csv":
        return CSVLogger(spec.folder, name="csv", version="")
    if config.logger.name == "none":
        return False
    label = f"{labels['method']}-d{labels['d']}" if labels["d"] else "full"
    options = {
        "name": f"{labels['model']}-{labels['task']}-{label}-seed{config.seed}",
        "id": labels["config_hash"],
        "project": config.logger.project,
        "group": spec.out.name,
        "job_type": labels["method"],
        "tags": [labels["model"], labels["task"], labels["method"], label],
        "save_dir": spec.folder,
        "config": {**labels, **setting(), "config": asdict(config)},
    }
    return open_wandb(config.logger.mode, options, notes)


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
