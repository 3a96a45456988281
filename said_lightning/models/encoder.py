"""The encoder: how a model is outlined, rehearsed and loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    T5Config,
)
from transformers.utils import logging

from said_lightning.config.schema import ModelConfig
from said_lightning.data.task import TaskConfig
from said_lightning.errors import UserError
from said_lightning.models.fit import settle, validate_fit
from said_lightning.models.head import head_of, keep_head, kept_order, start_head
from said_lightning.models.locate import how_to_fetch, is_folder, locate
from said_lightning.models.prompted import AmongLabels, Prompted, build_prompted
from said_lightning.models.t5 import T5EncoderClassifier
from said_lightning.models.weights import (
    holds_head,
    rehearse,
    stand_ins,
    stored_files,
    validate_loaded,
    weights_sha256,
)
from said_lightning.models.writing import Writes

HOW: dict[str, type[Prompted]] = {"prompt": AmongLabels, "generate": Writes}


class Fitted(NamedTuple):
    """A model before its weights: where it lies, its shapes on torch's meta device, its tokenizer.

    order: the checkpoint's output for each label, where its head is kept.
    """

    where: str
    shape: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    order: list[int] | None


class Outlined(NamedTuple):
    """A model without weights, on torch's meta device, and whether its checkpoint holds a head.

    held: None where the weights are not on this machine yet.
    """

    model: PreTrainedModel
    held: bool | None


class Loaded(NamedTuple):
    """An encoder in training mode, its tokenizer, and the sha256 of its pre-trained weights.

    new: the names of the tensors that no checkpoint gave, drawn from the seed.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    sha256: str
    new: frozenset[str]


def outline(model: ModelConfig, task: TaskConfig) -> Outlined:
    """Build the model without weights, to count and group its tensors.

    Raise UserError with all for which training could not load it or feed it: its config,
    tokenizer or weights are not to be had, broken or another model's, or do not take the task's
    rows. Weights are read by their names and shapes alone, and only where they are here.
    """
    where, shape, tokenizer, order = fit(model, task)
    held = None
    with reported(model, where):
        if (files := stored_files(where, model.revision, shape.config)) is not None:
            rehearsed, info = load_weights(shape, None, state_dict=stand_ins(files))
            held = validated(model, shape, info, order is not None)
            try:
                rehearse(rehearsed, tokenizer, task)
            except Exception as error:
                raise UserError(f"it cannot take the task's rows: {reason_of(error)}") from None
    return Outlined(shape, held)


def load(model: ModelConfig, task: TaskConfig, seed: int) -> Loaded:
    """Load encoder and tokenizer in float32, with a new head unless the checkpoint's is kept.

    A new head, and a pooler that no checkpoint holds, are drawn from the seed. Raise UserError as
    `outline` does.
    """
    where, shape, tokenizer, order = fit(model, task)
    with reported(model, where):
        encoder, info = load_weights(shape, where, revision=model.revision)
        validated(model, shape, info, order is not None)
    new = set(info["missing_keys"])
    if order is None:
        new |= head_of(encoder)
    else:
        keep_head(encoder, order)
    start_head(encoder, new, seed)
    # from_pretrained hands the model over in evaluation mode, and Lightning leaves it there.
    return Loaded(encoder.train(), tokenizer, weights_sha256(encoder, new), frozenset(new))


def fit(model: ModelConfig, task: TaskConfig) -> Fitted:
    """Read a model's config and tokenizer and make them agree; read no weights.

    Raise UserError with everything for which they do not suit each other or the task.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    where = locate(model)
    with reported(model, where):
        config, order = configure(model, where, task)
        with torch.device("meta"):
            shape = build(config, task.kind)
        tokenizer = AutoTokenizer.from_pretrained(
            where, revision=model.revision, trust_remote_code=False
        )
        settle(shape, tokenizer)
        wrong = validate_fit(shape, tokenizer, model, task)
        if isinstance(shape, Prompted):
            tokenizer.padding_side = "right"  # where a prompt ends is its number of tokens
            shape.ask(tokenizer, task)
    if wrong:
        raise UserError(*wrong)
    return Fitted(where, shape, tokenizer, order)


def load_weights(shape: PreTrainedModel, where: str | None, **options: Any) -> tuple[Any, Any]:
    """Load weights into a model of the class and the config of `shape`, in float32.

    Return it with what transformers says of the loading. A head of another size is left out.
    """
    architecture: Any = type(shape)
    found: tuple[Any, Any] = architecture.from_pretrained(
        where,
        config=shape.config,
        trust_remote_code=False,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        **options,
    )
    return found


def validated(model: ModelConfig, shape: PreTrainedModel, info: Any, keep: bool) -> bool:
    """Return whether a checkpoint holds a head. Raise UserError where it lacks what it should."""
    if wrong := validate_loaded(shape, info, keep):
        raise UserError(*wrong)
    return holds_head(shape, info)


def build(config: PretrainedConfig, kind: str = "classification") -> PreTrainedModel:
    """Build a classifier of any architecture, or what answers prompts, with random weights."""
    if kind in HOW:
        return build_prompted(config, HOW[kind])
    if isinstance(config, T5Config):
        return T5EncoderClassifier(config)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    return model


def configure(
    model: ModelConfig, where: str, task: TaskConfig
) -> tuple[PretrainedConfig, list[int] | None]:
    """Return the model's config for the task: labels, kind of loss, layers kept.

    With it, where the checkpoint's head is kept, its output for each of the task's labels.
    """
    order = None
    if model.head == "keep":
        stored = AutoConfig.from_pretrained(where, revision=model.revision, trust_remote_code=False)
        order = kept_order(stored, model, task)
    ids = {label: index for index, label in enumerate(task.labels)}
    regression = task.kind == "regression"
    head: dict[str, Any] = {
        "num_labels": task.num_labels,
        "problem_type": "regression" if regression else "single_label_classification",
        **({"label2id": ids, "id2label": dict(enumerate(ids))} if ids else {}),
    }
    config = AutoConfig.from_pretrained(
        where,
        revision=model.revision,
        trust_remote_code=False,
        **({} if task.prompted else head),
    )
    if model.layers is not None:
        keep_layers(config, model.layers)
    return config, order


def keep_layers(config: PretrainedConfig, layers: int) -> None:
    """Cut a config to its first layers, in an encoder and a decoder alike.

    Raise UserError where it has fewer.
    """
    depth = config.num_hidden_layers
    if layers > depth:
        raise UserError(f"model.layers={layers}: the model has {depth}; layers can be at most that")
    config.num_hidden_layers = layers
    for decoder in ("decoder_layers", "num_decoder_layers"):
        if hasattr(config, decoder):
            setattr(config, decoder, min(layers, getattr(config, decoder)))
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]


@contextmanager
def reported(model: ModelConfig, where: str) -> Iterator[None]:
    """Turn whatever goes wrong with a model's files into a UserError of one line."""
    try:
        yield
    except UserError as error:
        raise UserError(*(_named(model, line) for line in error.messages)) from None
    except Exception as error:  # of any kind: the files are anybody's
        reason = reason_of(error)
        if isinstance(error, OSError) and not is_folder(where):
            raise UserError(how_to_fetch(model, f"the hub cannot be asked ({reason})")) from None
        raise UserError(_named(model, reason)) from None


def reason_of(error: Exception) -> str:
    """Return an error's first line, with the kind of one that is not made for reading."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    text = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    plain = isinstance(error, OSError | ValueError) and text
    return f"{text:.300}" if plain else f"{type(error).__name__}: {text:.300}".removesuffix(": ")


def _named(model: ModelConfig, line: str) -> str:
    keys = ("model.path=", "model.layers=", "model.head=", "task.max_length=")
    return line if line.startswith(keys) else f"model.path={model.path}: {line}"
