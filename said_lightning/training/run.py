"""From a config to a finished run."""

import logging
import platform
import resource
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import CSVLogger, Logger
from pytorch_lightning.plugins.precision import MixedPrecision
from safetensors.torch import save as serialise

from said_lightning.config.schema import folder_of, identity, problems, typed
from said_lightning.config.stored import foreign, setting_hash, write_config
from said_lightning.data.datamodule import TextDataModule
from said_lightning.errors import UserError
from said_lightning.models.build import confine_for
from said_lightning.models.encoder import load, outline
from said_lightning.runs import checkpoint as generations
from said_lightning.runs import record as records
from said_lightning.runs.files import sweep, write_whole
from said_lightning.runs.record import Group, Metric, Record, TrainMetric
from said_lightning.runs.secrets import scrub
from said_lightning.runs.signals import Preempted
from said_lightning.subspace.subspace import budget, budget_problems
from said_lightning.training.callbacks import in_subspace
from said_lightning.training.checkpointing import SafeCheckpointIO, Saver
from said_lightning.training.ddp import SubspaceStrategy, processes, validate_devices
from said_lightning.training.growing import stages
from said_lightning.training.loggers import Journal, open_wandb
from said_lightning.training.module import Classifier
from said_lightning.training.stop import StopAt

log = logging.getLogger(__name__)

VERSIONED = ("said_lightning", "torch", "pytorch-lightning", "transformers", "datasets", "numba")


def run(cfg: DictConfig) -> Record:
    """Trains one config and leaves its folder; a run that is done already is not repeated.

    A run that was cut off or asked to stop goes on where its state was saved. A run that fails is
    recorded with its reason and told in its log, and raises nothing, so that a sweep goes on; but
    UserError, recorded too, where the config or the data are wrong.
    """
    folder = folder_of(cfg)
    if (found := records.finished(folder)) is not None:
        log.info("done before: %s", folder)
        return found
    if wrong := [*problems(cfg), *model_problems(cfg), *foreign(cfg, folder)]:
        raise UserError(*wrong)
    sweep(folder)
    (folder / records.RESULT).unlink(missing_ok=True)
    write_config(cfg, folder)
    known: dict[str, Any] = identity(cfg) | setting() | {"started": records.now()}
    known["setting_hash"] = setting_hash(cfg)
    clock = time.monotonic()
    mistake = None
    try:
        known |= {"status": "done", **train(cfg, folder)}
    except Preempted as signal:
        known |= {"status": "preempted", "reason": str(signal)}
    except UserError as error:
        mistake = error
        known |= {"status": "failed", "reason": str(error), "mistake": True}
    except Exception as error:
        log.exception("the run failed")
        known |= {"status": "failed", "reason": scrub(f"{type(error).__name__}: {error}")}
    wall_s = round(time.monotonic() - clock + known.pop("earlier_s", 0), 3)
    known |= {"ended": records.now(), "wall_s": wall_s}
    result = Record(**known, peak_memory_bytes=peak_memory())
    records.write(result, folder)
    # A mistake, once mended, costs no steps that were trained before it.
    if result.status != "preempted" and mistake is None:
        generations.remove(folder / generations.FOLDER)
    if mistake is not None:
        raise mistake
    return result


def model_problems(cfg: DictConfig) -> list[str]:
    """Tells what is wrong with the model, with d for it and with the machine; reads no weights.

    A config that lacks values is judged by `problems` alone.
    """
    if OmegaConf.missing_keys(cfg):
        return []
    config = typed(cfg)
    found = validate_devices(config.trainer.devices)
    try:
        skeleton = outline(config.model, config.task)
        confine_for(skeleton, config.method)
    except UserError as error:
        return found + list(error.messages)
    method = config.method
    if method.name == "full":
        return found
    groups, D = budget(skeleton, method.name, method.groups, method.head)
    m = len(groups) if method.name == "said" else 0
    return found + [line for d in config.every_d for line in budget_problems(d, m, D)]


def train(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Trains a run and gives what its record tells of the outcome."""
    config = typed(cfg)
    task, settings = config.task, config.trainer
    model, tokenizer, model_sha256 = load(config.model, task, config.seed)
    sizes = (settings.batch_size, settings.eval_batch_size)
    data = TextDataModule(task, tokenizer, *sizes, config.seed, settings.workers)
    data.setup()
    module = Classifier(model, task, settings, config.lr, config.seed)
    journal = Journal(folder, task.metric)
    callbacks = [journal, StopAt(task.metric, settings.stop_at), *in_subspace(config)]
    inputs = {"data_sha256": data.data.sha256, "model_sha256": model_sha256}
    saver = Saver(folder / generations.FOLDER, settings.save_every, inputs)
    with processes(settings.devices, train, cfg, folder):
        trainer = fit(cfg, folder, module, data, [*callbacks, saver], saver.notes)
    save(module, folder)
    found = outcome(module)
    return {
        **found,
        "metric": Metric(
            name=task.metric,
            value=journal.best.value if journal.best else None,
            trivial=data.trivial,
        ),
        "best": journal.best,
        "last": journal.last,
        "epochs": settings.epochs,
        "stages": stages(callbacks, journal.values, module.rate, found["outside"]),
        "metrics": journal.metrics,
        "train_metric": TrainMetric(name=task.metric, value=journal.train_value),
        **inputs,
        "device": str(trainer.strategy.root_device),
        "earlier_s": saver.seconds,
        "notes": saver.notes,
    }


def fit(
    cfg: DictConfig,
    folder: Path,
    module: Classifier,
    data: TextDataModule,
    callbacks: list[Callback],
    notes: list[str],
) -> Trainer:
    """Trains from the newest state that is whole, or from the start.

    Raises Preempted where a signal asked to stop, once the state is saved.
    """
    trainer = make_trainer(cfg, folder, callbacks, notes)
    newest = generations.latest(folder / generations.FOLDER)
    trainer.fit(module, datamodule=data, ckpt_path=newest)
    return trainer


def quiet() -> None:
    """Keeps Lightning's tips and notes on its own workings out of the log."""
    for logger in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    for message in (".*does not have many workers.*", ".*LeafSpec.*", ".*`srun` command.*"):
        warnings.filterwarnings("ignore", message)


def make_trainer(
    cfg: DictConfig, folder: Path, callbacks: list[Callback], notes: list[str]
) -> Trainer:
    """Makes the Lightning Trainer: a progress bar on a terminal, none in a log."""
    quiet()
    settings = cfg.trainer
    float16 = settings.precision == "16-mixed"
    return Trainer(
        max_epochs=settings.epochs,
        precision=None if float16 else settings.precision,
        gradient_clip_val=settings.clip or None,
        accumulate_grad_batches=settings.accumulate,
        callbacks=callbacks,
        plugins=[SafeCheckpointIO(), *([float16_plugin()] if float16 else [])],
        logger=make_logger(cfg, folder, notes),
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
    """Makes what Lightning makes for 16-mixed, on a CPU too, where Lightning takes bfloat16."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return MixedPrecision("16-mixed", found.type if found else "cpu")


def make_logger(cfg: DictConfig, folder: Path, notes: list[str]) -> Logger | bool:
    """Makes the configured logger; False is none, as where W&B does not start."""
    if cfg.logger.name == "csv":
        return CSVLogger(folder, name="csv", version="")
    if cfg.logger.name == "none":
        return False
    facts = identity(cfg)
    label = f"{facts['method']}-d{facts['d']}" if facts["d"] else "full"
    options = {
        "name": f"{facts['model']}-{facts['task']}-{label}-seed{cfg.seed}",
        "id": facts["config_hash"],
        "project": cfg.logger.project,
        "group": Path(cfg.out).name,
        "job_type": facts["method"],
        "tags": [facts["model"], facts["task"], facts["method"], label],
        "save_dir": folder,
        "config": {**facts, **setting(), "config": OmegaConf.to_container(cfg, resolve=True)},
    }
    return open_wandb(cfg.logger.mode, options, notes)


def setting() -> dict[str, Any]:
    """Gives what a record tells of where its run was made."""
    versions = {name: version(name) for name in VERSIONED}
    return {
        "versions": versions | {"python": platform.python_version()},
        "threads": torch.get_num_threads(),
    }


def outcome(module: Classifier) -> dict[str, Any]:
    """Gives what a trained module tells of its run's record."""
    subspace = module.subspace
    if subspace is None:
        return {"d": module.D, "D": module.D, "m": 0, "outside": 0, "lr": module.rate}
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
    """Saves what was trained: the subspace's numbers, or all weights of full fine-tuning.

    Of several processes, the first does.
    """
    if module.global_rank:
        return
    checkpoint = folder / generations.FOLDER
    checkpoint.mkdir(exist_ok=True)
    if (subspace := module.subspace) is None:
        with TemporaryDirectory(suffix=".tmp", dir=checkpoint) as beside:
            module.model.save_pretrained(beside)
            for file in Path(beside).iterdir():
                file.replace(checkpoint / file.name)
        return
    numbers = {"theta": subspace.theta, "scale": subspace.scale}
    head = {f"head.{name}": weight for name, weight in subspace.head().items()}
    write_whole(checkpoint / generations.NUMBERS, serialise({**numbers, **head}))


def peak_memory() -> int:
    """Gives the peak memory in bytes: the GPU's where there is one, else the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
