"""Which d a method of PEFT can have: asked of the job server, which has torch and PEFT."""

from dataclasses import replace

from said_lightning.config.ladder import Ladder
from said_lightning.config.schema import Config
from said_lightning.config.validate import validate_config
from said_lightning.errors import UserError
from said_lightning.training import server

_ladders: dict[str, Ladder | None] = {}


def settle(config: Config) -> Config:
    """Return a config with the d that its method can have, nearest to what was asked for.

    A config in which something is wrong stays as it is, for others to report.
    """
    if config.method.name != "peft" or validate_config(config):
        return config
    key = repr((config.model, config.task, config.method))
    if key not in _ladders:
        try:
            _ladders[key] = server.call("said_lightning.training.budget:ladder_of", config)
        except UserError:
            _ladders[key] = None
    ladder = _ladders[key]
    return config if ladder is None else replace(config, d=ladder.nearest(config.d).d)
