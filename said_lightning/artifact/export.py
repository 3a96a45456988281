"""From a finished run to its artifact; neither the base model nor the data are needed for that."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors

from said_lightning import __version__
from said_lightning.artifact.file import FILE, Artifact, write
from said_lightning.artifact.header import About, Score, carried, groups_digest
from said_lightning.config.schema import Config
from said_lightning.config.stored import read_config
from said_lightning.errors import UserError
from said_lightning.runs import checkpoint
from said_lightning.runs import record as records
from said_lightning.runs.files import read_whole


def export(run: Path, out: Path | None, dtype: Literal["float32", "bfloat16"]) -> Artifact:
    """Write the artifact of the run in a folder, there as `said.safetensors` unless `out` says.

    It holds the state after the last epoch. Its metric is the record's of that epoch, where the
    run evaluated these very numbers; where the file rounds them, or the run did, or its weights
    drifted, they are evaluated again, which needs the base model and the data.

    Raise UserError where the run is not done, has no theta, or lacks a file.
    """
    artifact = replace(from_run(run), dtype=dtype)
    config = read_config(run)
    if dtype != "float32" or not exact(config):
        artifact = evaluated(artifact, config)
    write(artifact, out or run / FILE)
    return artifact


def unevaluated(run: Path) -> Artifact:
    """Return the artifact of a run without asking its model; raise UserError as `export`.

    It has a metric where the run evaluated these very numbers, else none.
    """
    artifact = from_run(run)
    return artifact if exact(read_config(run)) else artifact.scored(None)


def evaluated(artifact: Artifact, config: Config) -> Artifact:
    """Return an artifact with the metric of its very numbers, on the data of a run's config.

    Raise UserError where base model or data cannot be had.
    """
    # transformers takes seconds to import, and most exports do without.
    from said_lightning.artifact.load import restore, score

    model, tokenizer, _, _ = restore(artifact)
    rows = config.trainer.eval_batch_size
    return artifact.scored(score(model, tokenizer, config.split_task, rows))


def exact(config: Config) -> bool:
    """Return whether a run's weights were float32 and a function of theta and lambda alone."""
    return (config.trainer.precision, config.method.origin) == ("32-true", "copy")


def from_run(run: Path) -> Artifact:
    """Return the artifact of a run as float32, its state after the last epoch.

    Raise UserError as `export` does.
    """
    record = records.read(run / records.RESULT)
    if record.status != "done":
        raise UserError(f"{run}: the run is {record.status}; the same command again finishes it")
    if record.method == "full":
        raise UserError(
            f"{run}: full fine-tuning has no theta; {run / checkpoint.FOLDER} is a model's folder"
        )
    config = read_config(run)
    if config.method.name == "peft":
        raise UserError(
            f"{run}: {record.method} has no theta, and is exported already: "
            f"{run / checkpoint.FOLDER} is a folder for PEFT's PeftModel.from_pretrained"
        )
    path = run / checkpoint.FOLDER / checkpoint.NUMBERS
    try:
        tensors = safetensors.load(read_whole(path, most=None))
        numbers = torch.cat([tensors["theta"], tensors["scale"]]).float().numpy()
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(f"{path}: the run's numbers cannot be read: {error}") from None
    if not np.isfinite(numbers).all():
        raise UserError(f"{path}: one of the run's numbers is not finite")
    head = {name[5:]: part for name, part in tensors.items() if name.startswith("head.")}
    assert record.last is not None
    value = (record.report or record.last).value
    about = About(
        config=carried(config),
        m=len(tensors["scale"]),
        groups=groups_digest({name: group.D for name, group in record.groups.items()}),
        fingerprint=str(record.fingerprint),
        model_sha256=str(record.model_sha256),
        metric=Score(name=config.task.metric, value=value, epoch=record.last.epoch),
        version=__version__,
    )
    return Artifact(about, numbers, head)
