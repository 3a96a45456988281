"""The names that records, folders and tables give to a config's model and projection."""

from collections.abc import Mapping
from typing import Any

NESTED = "nested"


def model_label(model: Mapping[str, Any]) -> str:
    """Names a model, with the layers kept where they are not all: bert-base-4-layers."""
    layers = model.get("layers")
    return str(model["name"]) if layers is None else f"{model['name']}-{layers}-layers"


def projection_label(projection: Mapping[str, Any], trainer: Mapping[str, Any]) -> str:
    """Names a projection with the options that are set: fastfood, released-exact.

    One whose d grows is another, fastfood-nested: its blocks are those of the largest d.
    """
    grows = trainer.get("grow_from") is not None
    parts = [*projection.values(), NESTED if grows else None]
    return "-".join(str(part) for part in parts if part is not None)
