"""The overrides of a command line: parsed as Hydra does, and everything that is wrong with them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from said_lightning.config.schema import Config
from said_lightning.data.task import FileSource, HubSource, TaskConfig
from said_lightning.errors import suggestion
from said_lightning.runs.secrets import scrub, validate_secret

# What a search chooses for each run, and what it tries factors on, by the sweeper's key for them.
SEARCHED = ("d", "seed", "trainer.stop_at", "trainer.grow_from")
FACTORS = {
    **dict.fromkeys(("lr", "trainer.step_ratio", "trainer.full_lr"), "rates"),
    **dict.fromkeys(("method.peft.lr", "method.peft.lr_at"), "rates"),
    "trainer.epochs": "lengths",
}
# Below these, keys are another package's keywords.
FREE = ("logger.options.", "method.peft.options.")
# Where runs lie follows from `out`, in each of Hydra's modes.
PLACES = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")


def parse(
    arguments: Iterable[str],
    validate: Callable[[Override], Iterable[str]],
    loader: ConfigLoader | None = None,
) -> tuple[list[Override], list[str]]:
    """Return the overrides in which nothing is wrong, and what is wrong with the others.

    `loader` is asked for the options of a group in which glob() chooses.
    """
    overrides, errors = [], []
    parser = OverridesParser.create()
    for text in arguments:
        if wrong := validate_secret(scrub(text.partition("=")[0]), text):
            errors += wrong  # nothing that follows may show it
            continue
        try:
            override = parser.parse_override(text)
            override.config_loader = loader
            wrong = list(validate(override))
        except HydraException as error:
            wrong = [f"{text}: {str(error).splitlines()[0]}; expected key=value"]
        errors += wrong
        overrides += [] if wrong else [override]
    return overrides, errors


def validate_override(override: Override, options: Callable[[str], list[str]]) -> Iterator[str]:
    """Yield what is wrong with one override: its key, or any of its values.

    `options` returns the names of a group's configs, none where a key is no group.
    """
    key = override.key_or_group
    if key in PLACES:
        yield f"{override.input_line}: where runs lie is set by out=FOLDER; leave it out"
    elif override.is_hydra_override() and override.is_sweep_override():
        yield f"{override.input_line}: expected one value; a list is written [1,3]"
    elif key.startswith(FREE) and override.type is OverrideType.CHANGE:
        yield f"{key}: expected ++{override.input_line}, which adds a keyword or changes it"
    elif key.startswith(("hydra.", *FREE)) or override.package is not None:
        return  # judged with what Hydra composes
    elif names := options(key):
        values = list(values_of(override))
        if not values:
            yield f"{override.input_line}: no such {key}{suggestion('', names)}"
        for value in values:
            if value not in (*names, "null"):
                yield f"{key}={value}: no such {key}{suggestion(value, names)}"
    elif not key.startswith("hydra/"):
        yield from validate_key(override, deepcopy(_schema()))


def validate_key(override: Override, schema: DictConfig) -> Iterator[str]:
    """Yield what is wrong with one override of a schema's keys; the schema takes it over."""
    key = override.key_or_group
    if key not in (keys := _keys(schema)):
        yield f"{key}: no such key{suggestion(key, keys)}"
        return
    if override.type is OverrideType.DEL:
        yield f"{override.input_line}: {key} cannot be left out; expected {key}=VALUE"
    for value in values_of(override):
        try:
            parsed = OverridesParser.create().parse_override(f"{key}={value}").value()
            OmegaConf.update(schema, key, parsed)
        except OmegaConfBaseException as error:
            yield f"{key}={value}: {str(error).splitlines()[0]}"


def validate_hydra(override: Override, hydra: DictConfig) -> Iterator[str]:
    """Yield a message for an override of a key that Hydra's node lacks."""
    key = override.key_or_group
    if override.type is not OverrideType.CHANGE or not key.startswith("hydra."):
        return
    if key not in (keys := _keys(hydra, "hydra.")):
        yield f"{key}: no such key{suggestion(key, keys)}"


def validate_searched(overrides: Iterable[Override], params: Mapping[str, Any]) -> Iterator[str]:
    """Yield each override, or key of an experiment's own sweep, that leaves a search no choice."""
    compared = "a search has one for all its runs; hydra.sweeper.{} compares factors on it"
    for override in overrides:
        key, text = override.key_or_group, override.input_line
        if key in SEARCHED:
            yield f"{text}: hydra/sweeper=d90 chooses this; leave it out"
        elif override.is_sweep_override() and key in FACTORS:
            yield f"{text}: {compared.format(FACTORS[key])}"
    for key in FACTORS:
        if key in params:
            yield f"hydra.sweeper.params.{key}: {compared.format(FACTORS[key])}"


def values_of(override: Override) -> list[str]:
    """Return the values of an override, several where it is swept, as text."""
    if override.is_delete():
        return []
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    return [override.get_value_element_as_str()]


@cache
def _schema() -> DictConfig:
    """Return the schema with the parts that are optional, which some yaml may fill."""
    task = TaskConfig(hub=HubSource(), files=FileSource())
    return OmegaConf.structured(Config(task=task))


def _keys(node: Any, prefix: str = "") -> list[str]:
    """Return the dotted keys of a schema."""
    keys = []
    for name in node:
        keys.append(f"{prefix}{name}")
        child = node._get_node(name)
        if OmegaConf.is_dict(child) and not child._is_none():
            keys += _keys(child, f"{prefix}{name}.")
    return keys
