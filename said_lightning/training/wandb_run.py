"""A run at W&B: what it is called there, how it starts, and how it ends."""

import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from pytorch_lightning.loggers import WandbLogger

from said_lightning.artifact.export import unevaluated
from said_lightning.artifact.file import FILE, write
from said_lightning.config.identity import RunSpec
from said_lightning.errors import needs

log = logging.getLogger(__name__)

WAIT_S = 20  # for W&B's server, before a run starts without
NAME, TAG = 128, 64  # the most letters that W&B takes
_UNNAMED = re.compile(r"[^A-Za-z0-9_.-]")  # what no artifact's name may hold


def init() -> Callable[..., Any]:
    """Return `wandb.init`. Raise UserError where wandb is not installed."""
    found: Callable[..., Any] = needs("wandb", "wandb", "logger=wandb").init
    return found


def start(spec: RunSpec, about: Mapping[str, Any], notes: list[str]) -> WandbLogger | None:
    """Start a run at W&B, kept offline where its server is not to be had; None where none starts.

    Either is logged, once, and is a line in `notes`. Raise UserError where wandb is not installed.
    """
    wandb = needs("wandb", "wandb", "logger=wandb")
    options = called(spec, about)
    for attempt in dict.fromkeys((spec.config.logger.mode, "offline")):
        try:
            settings = wandb.Settings(init_timeout=WAIT_S, login_timeout=WAIT_S)
            online = {"settings": settings} if attempt == "online" else {}
            logger = WandbLogger(**{**online, **options}, mode=attempt)
            logger.experiment  # noqa: B018 - starts W&B here, where its failure is expected
            return logger
        except Exception as error:
            log.warning("W&B is not available: %s", error)
            way = "its run is kept offline" if attempt == "online" else "no curves"
            notes[:] = [note for note in notes if not note.startswith("W&B ")]
            notes.append(f"W&B was not available: {way}")
            with suppress(Exception):  # of a service that is gone
                wandb.teardown()  # it holds on to the run that did not start
    return None


def called(spec: RunSpec, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of `wandb.init`: those of the config come before what a run is called."""
    labels, config = spec.labels, spec.config
    label = f"{labels['method']}-d{labels['d']}" if labels["d"] else "full"
    options = {
        "name": f"{labels['model']}-{labels['task']}-{label}-seed{config.seed}",
        "group": spec.out.name,
        "job_type": labels["method"],
        "tags": [labels["model"], labels["task"], labels["method"], label],
        **config.logger.options,
    }
    return {
        **fitted(options),
        "id": run_id(spec.folder, labels["config_hash"]),
        "project": config.logger.project,
        "save_dir": spec.folder,
        "config": dict(about),
    }


def fitted(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run is called, cut to what W&B takes; null is what W&B itself would choose."""
    name, group = options["name"], options["group"]
    return {
        **options,
        "name": name and name[:NAME],
        "group": group[:NAME] or None if group else None,
        "tags": list(dict.fromkeys(tag[:TAG] for tag in options["tags"] or ())),
    }


def run_id(folder: Path, start: str) -> str:
    """Return the id of the run that W&B's files in a folder are of, or a new one.

    So the same config in two folders is two runs, and one that is resumed stays the one it was.
    """
    earlier = sorted((folder / "wandb").glob("*run-*-*"))
    ids = [one.name.rpartition("-")[2] for one in earlier]
    return ids[-1] if ids else f"{start}{uuid4().hex[:8]}"


def end(logger: WandbLogger, result: Mapping[str, Any], folder: Path) -> None:
    """Make a run's record its summary, keep its artifact, and finish it: the next is another's."""
    done = result["status"] == "done"
    try:
        logger.experiment.summary.update(dict(result))
        if done and result["method"] in ("did", "said"):
            keep(logger.experiment, result, folder)
    finally:
        logger.experiment.finish(exit_code=int(not done))


def keep(run: Any, result: Mapping[str, Any], folder: Path) -> None:
    """Write a run's artifact, and log it to W&B as a model of the run.

    Where `said export` would evaluate it anew, it has no metric: a run is not to end twice.
    """
    from wandb import Artifact

    write(unevaluated(folder), folder / FILE)
    facts = {name: result[name] for name in ("model", "task", "method", "d", "seed", "metric")}
    artifact = Artifact(_UNNAMED.sub("-", run.name or run.id)[:NAME], "model", metadata=facts)
    artifact.add_file(str(folder / FILE), policy="immutable")
    run.log_artifact(artifact)
