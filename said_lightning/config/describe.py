"""What each key of the config is: its type, its default and its meaning, as the schemas say them.

The meaning stands below the field, and `said train --help` and the reference are made from here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, get_args

from omegaconf import MISSING as OMITTED
from omegaconf import OmegaConf
from pydantic import TypeAdapter

from said_lightning.config.compose import conf_folder
from said_lightning.config.plugins import SearchConfig, SlurmConfig
from said_lightning.config.schema import Config

# A plugin's node of the config: its schema, and the yaml with its defaults.
PLUGINS = {
    "hydra.sweeper": (SearchConfig, "hydra/sweeper/d90"),
    "hydra.launcher": (SlurmConfig, "hydra/launcher/slurm"),
}
SECTION = "section"
_NAMES = {
    "integer": "integer",
    "number": "number",
    "string": "text",
    "boolean": "true | false",
    "null": "null",
}
_LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_LARGE = 2**31  # beyond it a limit is the machine's, not the key's


@dataclass(frozen=True)
class Key:
    """A key of the config.

    name: with dots. type: in words, `section` where keys lie below it. default: as it is written
    on a command line, empty where a yaml has to say it. meaning: a sentence.
    """

    name: str
    type: str
    default: str
    meaning: str


def describe() -> list[Key]:
    """Return every key of a run's config, of the search and of the Slurm launcher, in order."""
    keys = keys_of(Config)
    for node, (schema, yaml) in PLUGINS.items():
        defaults = OmegaConf.load(conf_folder() / f"{yaml}.yaml")
        given: Any = OmegaConf.to_container(defaults, resolve=False)
        keys += keys_of(schema, f"{node}.", given)
    return keys


def keys_of(schema: type, prefix: str = "", given: Mapping[str, Any] | None = None) -> list[Key]:
    """Return the keys of a schema in its order, sections before what lies in them.

    schema: a dataclass on data.fields.Described. given: defaults that stand in for its own.
    """
    return list(_walk(schema, prefix, given or {}))


def _walk(schema: Any, prefix: str, given: Mapping[str, Any]) -> Iterator[Key]:
    shapes = TypeAdapter(schema).json_schema()["properties"]
    for one in fields(schema):
        name, shape = f"{prefix}{one.name}", shapes[one.name]
        made = one.default if one.default_factory is MISSING else one.default_factory()
        default = given.get(one.name, made)
        meaning = " ".join(shape.get("description", "").split())
        yield Key(name, _type(shape), text(default), meaning)
        for inner in (one.type, *get_args(one.type)):
            if isinstance(inner, type) and is_dataclass(inner):
                yield from _walk(inner, f"{name}.", {})


def _type(shape: Mapping[str, Any]) -> str:
    """Return a type of a JSON schema in words."""
    if "anyOf" in shape:
        return " | ".join(dict.fromkeys(map(_type, shape["anyOf"])))
    if "$ref" in shape:
        return SECTION
    if "enum" in shape:
        return " | ".join(shape["enum"])
    if shape.get("type") == "array":
        return f"list of {_NAMES[shape['items']['type']]}s"
    if shape.get("type") == "object":
        return "mapping"
    limits = [
        f"{sign} {shape[key]:,}"
        for key, sign in _LIMITS.items()
        if abs(shape.get(key, _LARGE)) < _LARGE
    ]
    return " ".join([_NAMES[shape["type"]], ", ".join(limits)]).strip()


def text(value: Any) -> str:
    """Return a default as a command line has it."""
    if value in (MISSING, OMITTED) or is_dataclass(value):
        return ""
    if isinstance(value, list):
        return f"[{','.join(map(text, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}: {text(inner)}' for key, inner in value.items())}}}"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value).replace("\n", "\\n")
