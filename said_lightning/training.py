"""From a config to a finished run."""

import logging
import platform
import resource
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import CSVLogger, Logger
from safetensors.torch import save_file

from said_lightning.callback import SubspaceCallback
from said_lightning.config import config_hash, problems, projection_label, run_folder, typed
from said_lightning.data.datamodule import TextDataModule
from said_lightning.encoder import load, outline
from said_lightning.errors import UserError
from said_lightning.journal import Journal, SoftWandbLogger, soft
from said_lightning.module import Classifier
from said_lightning.runs import record as records
from said_lightning.runs.record import Group, Metric, Record, TrainMetric
from said_lightning.stop import StopAt
from said_lightning.subspace import budget, budget_problems

log = logging.getLogger(__name__)

VERSIONED = ("said_lightning", "torch", "pytorch-lightning", "transformers", "datasets", "numba")


def run(cfg: DictConfig) -> Record:
    """Trains one config and leaves its folder; a run that is done already is not repeated.

    A run that fails is recorded with its reason and told in its log, and raises nothing, so that a
    sweep goes on; but UserError, recorded too, where the config or the data are wrong.
    """
    folder = Path(cfg.out) / run_folder(cfg)
    if (found := finished(folder)) is not None:
        log.info("done before: %s", folder)
        return found
    if wrong := [*problems(cfg), *model_problems(cfg)]:
        raise UserError(*wrong)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (records.METRICS, records.RESULT):
        (folder / stale).unlink(missing_ok=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True))
    known: dict[str, Any] = identity(cfg) | {"started": records.now()}
    clock = time.monotonic()
    mistake = None
    try:
        known |= {"status": "done", **train(cfg, folder)}
    except UserError as error:
        mistake = error
        known |= {"status": "failed", "reason": str(error)}
    except Exception as error:
        log.exception("the run failed")
        known |= {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    known |= {"ended": records.now(), "wall_s": round(time.monotonic() - clock, 3)}
    result = Record(**known, peak_memory_bytes=peak_memory())
    records.write(result, folder)
    if mistake is not None:
        raise mistake
    return result


def finished(folder: Path) -> Record | None:
    """Gives the record of a run that is done, if the folder holds one."""
    try:
        found = records.read(folder / records.RESULT)
    except UserError:
        return None
    return found if found.status == "done" else None


def model_problems(cfg: DictConfig) -> list[str]:
    """Tells what is wrong with the model and with d for it; reads its config, not its weights.

    A config that lacks values is judged by `problems` alone.
    """
    if OmegaConf.missing_keys(cfg):
        return []
    config = typed(cfg)
    try:
        skeleton = outline(config.model, config.task)
    except UserError as error:
        return list(error.messages)
    method = config.method
    if method.name == "full":
        return []
    groups, D = budget(skeleton, method.name, method.groups, method.head)
    return budget_problems(config.d, len(groups) if method.name == "said" else 0, D)


def train(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Trains a run and gives what its record tells of the outcome."""
    config = typed(cfg)
    task, settings = config.task, config.trainer
    model, tokenizer, model_sha256 = load(config.model, task, config.seed)
    data = TextDataModule(
        task,
        tokenizer,
        settings.batch_size,
        settings.eval_batch_size,
        config.seed,
        settings.workers,
    )
    data.setup()
    module = Classifier(model, task, settings, config.lr, config.seed)
    journal = Journal(folder, task.metric)
    callbacks: list[Callback] = [journal, StopAt(task.metric, settings.stop_at)]
    if config.method.name != "full":
        options = dict(config.projection)
        name = options.pop("name")
        callbacks.append(SubspaceCallback(config.method, name, config.d, config.seed, **options))
    trainer = make_trainer(cfg, folder, callbacks)
    trainer.fit(module, datamodule=data)
    save(module, folder)
    return {
        **outcome(module),
        "metric": Metric(
            name=task.metric,
            value=journal.best.value if journal.best else None,
            trivial=data.trivial,
        ),
        "best": journal.best,
        "last": journal.last,
        "epochs": settings.epochs,
        "metrics": journal.metrics,
        "train_metric": TrainMetric(name=task.metric, value=journal.train_value),
        "data_sha256": data.data.sha256,
        "model_sha256": model_sha256,
        "device": str(trainer.strategy.root_device),
    }


def quiet() -> None:
    """Keeps Lightning's tips and notes on its own workings out of the log."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (".*does not have many workers.*", ".*LeafSpec.*"):
        warnings.filterwarnings("ignore", message)


def make_trainer(cfg: DictConfig, folder: Path, callbacks: list[Callback]) -> Trainer:
    """Makes the Lightning Trainer: a progress bar on a terminal, none in a log."""
    quiet()
    settings = cfg.trainer
    return Trainer(
        max_epochs=settings.epochs,
        precision=settings.precision,
        gradient_clip_val=settings.clip or None,
        accumulate_grad_batches=settings.accumulate,
        callbacks=callbacks,
        logger=make_logger(cfg, folder),
        default_root_dir=folder,
        devices=1,
        use_distributed_sampler=False,  # it would shuffle its own way
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        num_sanity_val_steps=0,
    )


def make_logger(cfg: DictConfig, folder: Path) -> Logger | bool:
    """Makes the configured logger; False is none, as where W&B does not start."""
    if cfg.logger.name == "csv":
        return CSVLogger(folder, name="csv", version="")
    if cfg.logger.name == "none":
        return False
    facts = identity(cfg)
    label = f"{facts['method']}-d{facts['d']}" if facts["d"] else "full"
    with soft():
        logger = SoftWandbLogger(
            name=f"{facts['model']}-{facts['task']}-{label}-seed{cfg.seed}",
            id=facts["config_hash"],
            project=cfg.logger.project,
            group=Path(cfg.out).name,
            job_type=facts["method"],
            tags=[facts["model"], facts["task"], facts["method"], label],
            save_dir=folder,
            mode=cfg.logger.mode,
            config={**facts, "config": OmegaConf.to_container(cfg, resolve=True)},
        )
        logger.experiment  # noqa: B018 - starts W&B here, where its failure is expected
        return logger
    return False


def identity(cfg: DictConfig) -> dict[str, Any]:
    """Gives what a config tells of its run's record."""
    full = cfg.method.name == "full"
    return {
        "model": cfg.model.name,
        "task": cfg.task.name,
        "method": cfg.method.name,
        "projection": None if full else projection_label(cfg),
        "d": None if full else cfg.d,
        "seed": cfg.seed,
        "lr": cfg.lr,
        "config_hash": config_hash(cfg),
        "versions": {name: version(name) for name in VERSIONED}
        | {"python": platform.python_version()},
        "threads": torch.get_num_threads(),
    }


def outcome(module: Classifier) -> dict[str, Any]:
    """Gives what a trained module tells of its run's record."""
    subspace = module.subspace
    if subspace is None:
        D = sum(weight.numel() for weight in module.model.parameters() if weight.requires_grad)
        return {"d": D, "D": D, "m": 0, "outside": 0, "lr": module.rate}
    scales = subspace.scale.tolist() if subspace.m else [None]
    return {
        "d": subspace.d + subspace.outside,
        "D": subspace.D,
        "m": subspace.m,
        "outside": subspace.outside,
        "groups": {
            name: Group(D=size, scale=scale)
            for (name, size), scale in zip(subspace.sizes().items(), scales, strict=True)
        },
        "lr": module.rate,
        "fingerprint": subspace.projection.fingerprint(),
    }


def save(module: Classifier, folder: Path) -> None:
    """Saves what was trained: the subspace's numbers, or all weights of full fine-tuning."""
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir(exist_ok=True)
    if (subspace := module.subspace) is None:
        module.model.save_pretrained(checkpoint)
        return
    numbers = {"theta": subspace.theta, "scale": subspace.scale}
    head = {f"head.{name}": weight for name, weight in subspace.head().items()}
    save_file({**numbers, **head}, checkpoint / "subspace.safetensors")


def peak_memory() -> int:
    """Gives the peak memory in bytes: the GPU's where there is one, else the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
