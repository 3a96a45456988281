"""From a run's config to its subspace: for training, and wherever theta is read again."""

from torch import nn

from said_lightning.config import Config
from said_lightning.subspace import Subspace


def build_subspace(model: nn.Module, config: Config) -> Subspace:
    """Makes the subspace that a run of this config trains its encoder in, theta at its start.

    Raises what Subspace raises.
    """
    method = config.method
    options = dict(config.projection)
    return Subspace(
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
