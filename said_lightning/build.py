"""From a run's config to its subspace: for training, and wherever theta is read again."""

from torch import nn

from said_lightning.config import Config
from said_lightning.space import START, confine
from said_lightning.subspace import Subspace


def build_subspace(model: nn.Module, config: Config) -> Subspace:
    """Makes the subspace that a run of this config trains its encoder in, theta at its start.

    Confines the encoder to the run's space. Raises what Subspace and confine raise.
    """
    method = config.method
    confine(model, method)
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
