"""The encoder: how a model is loaded, and how a new head starts."""

import hashlib
from typing import Any, NamedTuple

import torch
from torch import nn
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
from said_lightning.models.locate import how_to_fetch, is_folder, locate
from said_lightning.models.t5 import T5EncoderClassifier
from said_lightning.projections.core import random

PURPOSE = "head"  # keeps a head's starting values apart from P's draws


def outline(model: ModelConfig, task: TaskConfig) -> PreTrainedModel:
    """Build the model without weights (on torch's meta device), to count and group its tensors.

    Raise UserError where its config is neither local nor to be had from the hub, is that of no
    text classifier, or has fewer layers than are to be kept.
    """
    where = locate(model)
    try:
        config = configure(model, task)
        with torch.device("meta"):
            return build(config)
    except (OSError, ValueError) as error:
        raise UserError(_unusable(model, where, error)) from None


def build(config: PretrainedConfig) -> PreTrainedModel:
    """Build a classifier of any architecture with random weights."""
    if isinstance(config, T5Config):
        return T5EncoderClassifier(config)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    return model


def configure(model: ModelConfig, task: TaskConfig) -> PretrainedConfig:
    """Return the model's config for the task: labels, kind of loss, layers kept."""
    regression = task.kind == "regression"
    ids = {label: index for index, label in enumerate(task.labels)}
    config = AutoConfig.from_pretrained(
        locate(model),
        revision=model.revision,
        trust_remote_code=False,
        num_labels=task.num_labels,
        problem_type="regression" if regression else "single_label_classification",
        **({"label2id": ids, "id2label": dict(enumerate(ids))} if ids else {}),
    )
    if model.layers is not None:
        keep_layers(config, model.layers)
    return config


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


class Loaded(NamedTuple):
    """An encoder in training mode, its tokenizer, and the sha256 of its pre-trained weights."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    sha256: str


def load(model: ModelConfig, task: TaskConfig, seed: int) -> Loaded:
    """Load encoder and tokenizer in float32; what no checkpoint holds is drawn from the seed.

    Raise UserError where they are neither local nor to be had from the hub, or lack a vocabulary.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    where = locate(model)
    try:
        config = configure(model, task)
        t5 = isinstance(config, T5Config)
        architecture: Any = T5EncoderClassifier if t5 else AutoModelForSequenceClassification
        tokenizer = AutoTokenizer.from_pretrained(
            where, revision=model.revision, trust_remote_code=False
        )
        encoder, info = architecture.from_pretrained(
            where,
            config=config,
            revision=model.revision,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise UserError(_unusable(model, where, error)) from None
    # Without its files transformers makes up a tokenizer to which every word is unknown.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise UserError(f"model.path={model.path}: its tokenizer has no vocabulary")
    missing = set(info["missing_keys"])
    start_head(encoder, missing, seed)
    # from_pretrained hands the model over in evaluation mode, and Lightning leaves it there.
    return Loaded(encoder.train(), tokenizer, weights_sha256(encoder, missing))


@torch.no_grad()
def start_head(model: PreTrainedModel, missing: set[str], seed: int) -> None:
    """Draw the weights that no checkpoint holds from (seed, name), the same on every machine.

    Matrices are normal with the config's initializer_range, biases 0; norms keep their 1.
    """
    spread = getattr(model.config, "initializer_range", 0.02)
    for name, weight in model.named_parameters():
        if name not in missing:
            continue
        if weight.dim() > 1:
            halves = random.half_words(random.key(seed, name, PURPOSE), 0, weight.numel())
            weight.copy_(random.normals(halves, weight.dtype).view_as(weight) * spread)
        elif name.endswith("bias"):
            weight.zero_()


def weights_sha256(model: nn.Module, without: set[str]) -> str:
    """Hash the state dict in the order of its names, without some of them."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        if name in without:
            continue
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _unusable(model: ModelConfig, where: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0]
    if is_folder(where):
        return f"model.path={model.path}: {reason}"
    return how_to_fetch(model, f"the hub cannot be asked ({reason})")
