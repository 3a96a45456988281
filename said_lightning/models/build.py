"""From a run's config to its subspace: for training, and wherever theta is read again."""

from typing import Any

from torch import nn

from said_lightning.config.schema import Config, MethodConfig
from said_lightning.models.quantize import quantize
from said_lightning.subspace.groups import split_head
from said_lightning.subspace.spaces import confine, start
from said_lightning.subspace.subspace import Subspace


def confine_for(model: nn.Module, method: MethodConfig) -> None:
    """Freeze in place what a run's space leaves out; without a subspace there is none."""
    if method.name in ("did", "said"):
        confine(model, method.space, method.r)


def checkpoint_activations(model: Any) -> None:
    """Have each layer keep its input alone, and compute the rest again in the backward pass."""
    # Earlier versions of transformers have the other name alone.
    named = getattr(model, "activation_checkpointing_enable", None)
    (named or model.gradient_checkpointing_enable)({"use_reentrant": False})


def build_subspace(model: nn.Module, config: Config) -> Subspace:
    """Make the subspace that a run of this config trains its encoder in, theta at its start.

    Quantize the encoder as the run asks, and confine it to its space. Raise what Subspace, quantize
    and confine raise.
    """
    method = config.method
    trainable, _ = split_head(model, "inside")
    full_D = sum(weight.numel() for weight in trainable.values())
    if method.quantize:
        quantize(model, method.quantize)
    confine_for(model, method)
    options: dict[str, Any] = {
        "method": method.name,
        "groups": method.groups,
        "head": method.head,
        "origin": method.origin,
        "quantized": "inside" if method.quantize and method.space == "all" else "outside",
        "projection": config.projection.name,
        "seed": config.seed,
        **config.projection.options,
    }
    # A run reads its word embeddings by forward passes alone.
    subspace = Subspace(model, config.d, lazy=True, **options)
    subspace.full_D = full_D
    if method.space == "lora":
        start(subspace.theta, config.seed)
        subspace.write()
    return subspace
