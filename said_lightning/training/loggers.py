"""Where a run's numbers go besides its folder: a logger of Lightning's, which ends no run."""

import inspect
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from filelock import FileLock
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from said_lightning.config.identity import RunSpec, decisive
from said_lightning.config.schema import LoggerConfig
from said_lightning.errors import UserError, suggestion
from said_lightning.runs.files import write_whole
from said_lightning.runs.record import RESULT
from said_lightning.training import wandb_run

log = logging.getLogger(__name__)

TITLES = {"csv": "CSV", "tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "W&B"}
CLASSES = {
    "csv": "pytorch_lightning.loggers.CSVLogger",
    "tensorboard": "pytorch_lightning.loggers.TensorBoardLogger",
    "mlflow": "pytorch_lightning.loggers.MLFlowLogger",
}
WRITER = "torch.utils.tensorboard:SummaryWriter"  # takes what TensorBoard's logger passes on
MLFLOW_LOCK = ".mlflow.lock"
MLFLOW_ID = "mlflow.id"  # a file in the run's folder: a run that is resumed stays the one it was


class Sink:
    """Sends a run's numbers to a Lightning logger, or nowhere until one is opened.

    Trouble with the logger never ends the run: the first is logged, is a line in the run's notes,
    and ends the logging.
    """

    def __init__(self) -> None:
        self.logger: Logger | None = None
        self._works = False
        self._title = ""
        self._notes: list[str] = []
        self._about: dict[str, Any] = {}

    def open(self, spec: RunSpec, notes: list[str]) -> None:
        """Start the logger of a run's config; trouble with it becomes a line in `notes`.

        Raise UserError where its package is not installed.
        """
        config = spec.config.logger
        if config.name == "none":
            return
        self._title = TITLES.get(config.name) or str(config.path).rpartition(".")[2]
        self._notes = notes
        self._about = {**spec.labels, "config": decisive(spec.config)}
        if config.name == "wandb":
            self.logger = wandb_run.start(spec, self._about, notes)
        else:
            with self._soft():
                self.logger = make(spec)
        self._works = self.logger is not None

    def about(self, facts: Mapping[str, Any]) -> None:
        """Send what a run is: the labels and what its result depends on, with `facts`."""
        if self._works and self.logger is not None:
            self._about |= facts
            with self._soft():
                self.logger.log_hyperparams(self._about)

    def log(self, row: Mapping[str, Any]) -> None:
        """Send a row's numbers at its `step`; the row is one of metrics.jsonl, or a step's."""
        if self._works and self.logger is not None:
            numbers = {k: v for k, v in row.items() if isinstance(v, int | float) and k != "step"}
            with self._soft():
                self.logger.log_metrics(numbers, row["step"])
                self.logger.save()

    def close(self, folder: Path) -> None:
        """Send what a run's record says, and have done with the logger."""
        if self.logger is None:
            return
        result = json.loads((folder / RESULT).read_bytes())
        self._notes = []  # those of the record are written
        with self._soft():
            if isinstance(self.logger, WandbLogger):
                wandb_run.end(self.logger, result, folder)
            else:
                end(self.logger, result, self._about if self._works else None)
        self.logger, self._works = None, False

    @contextmanager
    def _soft(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            log.warning("%s is not available: %s", self._title, error)
            self._notes.append(f"{self._title} was not available: no curves from then on")
            self._works = False


def make(spec: RunSpec) -> Logger:
    """Make the Lightning logger of a run's config, started: its options come before what we say."""
    config, folder = spec.config.logger, spec.folder
    own: dict[str, Any] = {}
    if config.name in ("csv", "tensorboard"):
        own = {"save_dir": folder, "name": config.name, "version": ""}
    if config.name == "tensorboard":
        own["default_hp_metric"] = False
    if config.name == "mlflow":
        own = mlflow_options(spec)
    made = find_class(config)
    if config.name == "custom" and "save_dir" in inspect.signature(made).parameters:
        own = {"save_dir": str(folder)}
    # Of runs that start at once, one makes MLflow's database and the experiment.
    with FileLock(spec.out / MLFLOW_LOCK) if config.name == "mlflow" else nullcontext():
        logger: Logger = made(**{**own, **config.options})
        getattr(logger, "experiment", None)  # starts it here, where its failure is expected
    if isinstance(logger, MLFlowLogger):
        write_whole(folder / MLFLOW_ID, str(logger.run_id).encode())
    return logger


def mlflow_options(spec: RunSpec) -> dict[str, Any]:
    """Return what MLflow calls a run: its sweep's runs are an experiment, in one database."""
    known = spec.folder / MLFLOW_ID
    local = f"sqlite:///{spec.out / 'mlflow.db'}"
    return {
        "experiment_name": spec.out.name,
        "run_name": spec.name,
        "tracking_uri": os.environ.get("MLFLOW_TRACKING_URI") or local,
        "run_id": known.read_text() if known.exists() else None,
    }


def end(logger: Logger, result: Mapping[str, Any], about: dict[str, Any] | None) -> None:
    """Send the metric that a run reports and the seconds it took, and close the logger."""
    done = result["status"] == "done"
    if about and done:
        metric = result["metric"]
        numbers = {f"result/{metric['name']}": metric["value"], "result/wall_s": result["wall_s"]}
        numbers = {name: value for name, value in numbers.items() if value is not None}
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(about, numbers)  # which its table of runs shows side by side
        else:
            logger.log_metrics(numbers)
        logger.save()
    logger.finalize("success" if done else "failed")


def find_class(config: LoggerConfig) -> Any:
    """Return the class of a logger's config. Raise UserError where it is no logger of Lightning."""
    path = CLASSES.get(config.name) or str(config.path)
    package, _, name = path.rpartition(".")
    try:
        module = resolve_name(package)
    except Exception as error:  # of any kind: what a module does when it is imported
        raise UserError(f"logger.path={path}: cannot import {package or path}: {error}") from None
    found = getattr(module, name, None)
    if found is None:
        classes = [one for one, value in vars(module).items() if is_logger(value)]
        raise UserError(f"logger.path={path}: no {name} in {package}{suggestion(name, classes)}")
    if not is_logger(found):
        raise UserError(
            f"logger.path={path}: expected a class that inherits from "
            "pytorch_lightning.loggers.Logger"
        )
    return found


def is_logger(value: object) -> bool:
    """Return whether a value is a class of loggers."""
    return isinstance(value, type) and issubclass(value, Logger)


def validate_options(config: LoggerConfig) -> list[str]:
    """Return what is wrong with a logger's class and its options: imports both."""
    try:
        made = wandb_run.init() if config.name == "wandb" else find_class(config)
    except UserError as error:
        return list(error.messages)
    title = "wandb.init" if config.name == "wandb" else made.__name__
    takes = dict(inspect.signature(made).parameters)
    if config.name == "tensorboard" and config.options and find_spec("tensorboard"):
        takes |= inspect.signature(resolve_name(WRITER)).parameters
        del takes["kwargs"], takes["log_dir"]  # which the logger sets
    more = [one for one in takes.values() if one.kind is one.VAR_KEYWORD]
    named = {
        one.name: one
        for one in takes.values()
        if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    }
    found = [
        f"logger.options.{key}: {title} has no such keyword{suggestion(key, named)}"
        for key in config.options
        if key not in named and not more
    ]
    if config.name != "custom":
        return found
    return found + [
        f"logger.options.{key}: {title} needs it"
        for key, one in named.items()
        if one.default is one.empty and key not in (*config.options, "save_dir")
    ]


def validate_loggers(configs: list[LoggerConfig]) -> list[str]:
    """Return what is wrong with the classes and options of loggers, each message once."""
    return list(dict.fromkeys(line for config in configs for line in validate_options(config)))
