"""From a run's config to its subspace: for training, and wherever theta is read again."""

from torch import nn

from said_lightning.config.schema import Config, MethodConfig
from said_lightning.subspace.spaces import START, confine
from said_lightning.subspace.subspace import Subspace


def confine_for(model: nn.Module, method: MethodConfig) -> None:
    """Freeze in place what a run's space leaves out; full fine-tuning always trains all."""
    if method.name != "full":
        confine(model, method.space, method.r)


def build_subspace(model: nn.Module, config: Config) -> Subspace:
    """Makes the subspace that a run of this config trains its encoder in, theta at its start.

    Confines the encoder to the run's space. Raises what Subspace and confine raise.
    """
    method = config.method
    confine_for(model, method)
    options = dict(config.projection)
    subspace = Subspace(
        model,
        config.d,
        config.seed,
        options.pop("name"),
        method.name,
        method.groups,
        method.head,
        method.origin,
        **options,
    )
    if method.space == "lora":
        subspace.scatter(START, config.seed)
    return subspace
