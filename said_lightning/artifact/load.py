"""From an artifact to a model, theta_0 + lambda P theta in an ordinary one, and to its score."""

from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from said_lightning.artifact.file import Artifact, read
from said_lightning.artifact.header import groups_digest
from said_lightning.data.task import TaskConfig
from said_lightning.errors import UserError
from said_lightning.models.build import build_subspace
from said_lightning.models.encoder import Loaded
from said_lightning.models.encoder import load as load_encoder
from said_lightning.models.prompted import Prompted
from said_lightning.subspace.subspace import Subspace


def load(file: str | Path, model: str | None = None) -> PreTrainedModel:
    """Load the model of a file that `said export` wrote, in float32 and ready to predict.

    The tokenizer is that of the model's `name_or_path`.

    Args:
        file: the artifact.
        model: where its base model lies, a folder or a hub id, if not where the run found it.

    Raises:
        UserError: the file is no artifact, its base model is not to be had or is another, or this
            version draws another P.
    """
    return restored(Path(file), model).model


def restored(file: Path, base: str | None = None) -> Loaded:
    """Load model and tokenizer of an artifact's file, as `load` does."""
    try:
        return restore(read(file), base)
    except UserError as error:
        named = (text if str(file) in text else f"{file}: {text}" for text in error.messages)
        raise UserError(*named) from None


def restore(artifact: Artifact, base: str | None = None) -> Loaded:
    """Return the model of an artifact in evaluation mode, with tokenizer and base model's sha256.

    Raise UserError as `load` does.
    """
    about, config = artifact.about, artifact.about.run
    where = replace(config.model, path=base, revision=None) if base else config.model
    loaded = load_encoder(where, config.task, config.seed)
    if loaded.sha256 != about.model_sha256:
        raise UserError(
            f"made from another base model than {where.path}: expected weights of sha256 "
            f"{about.model_sha256}, found {loaded.sha256}; --model names the right one"
        )
    try:
        subspace = build_subspace(loaded.model, config)
    except (TypeError, ValueError) as error:
        raise UserError(f"no such subspace: {error}") from None
    if wrong := validate_subspace(subspace, artifact):
        raise UserError(*wrong)
    with torch.no_grad():
        theta, scale = torch.from_numpy(artifact.values().copy()).split(
            [len(subspace.theta), subspace.m]
        )
        subspace.theta.copy_(theta)
        subspace.lambdas.copy_(scale)
        for name, weight in subspace.head().items():
            weight.copy_(artifact.head[name])
    subspace.write()
    return loaded._replace(model=loaded.model.eval())


def score(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: TaskConfig, rows: int
) -> float:
    """Return the task's metric on the rows that it reports on, in batches of `rows` rows.

    What a text that is written is held against is the task's `match`. Raise UserError where the
    data cannot be had.
    """
    # Seconds of import, which whoever only loads does without.
    from said_lightning.data.datamodule import TextDataModule
    from said_lightning.data.scores import score as score_of
    from said_lightning.models.answers import answers

    data = TextDataModule(task, tokenizer, rows, rows, seed=0)
    data.setup()
    if isinstance(model, Prompted):
        model.ask(tokenizer, task)
    return score_of(task.metric, *answers(model, data, data.report_sets[0]), task.num_labels)


def validate_subspace(subspace: Subspace, artifact: Artifact) -> list[str]:
    """Return in what a subspace built here differs from the one that an artifact is of."""
    about = artifact.about
    found = []
    if (subspace.m, groups_digest(subspace.sizes())) != (about.m, about.groups):
        found.append("its groups of tensors are others than this version makes of its model")
    if subspace.projection.fingerprint() != about.fingerprint:
        found.append(
            f"its P is another: expected fingerprint {about.fingerprint}, this version "
            f"({about.version} wrote it) draws {subspace.projection.fingerprint()}"
        )
    shapes = {name: weight.shape for name, weight in subspace.head().items()}
    if shapes != {name: weight.shape for name, weight in artifact.head.items()}:
        expected = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
        found.append(f"its head outside the subspace is not {expected or 'empty'}")
    return found
