"""The names that records, folders and tables give to a config's model and projection."""

from collections.abc import Mapping
from typing import Any

NESTED = "nested"


def model_label(model: Mapping[str, Any]) -> str:
    """Return a model's name, with the layers kept where they are not all: bert-base-4-layers."""
    layers = model.get("layers")
    return str(model["name"]) if layers is None else f"{model['name']}-{layers}-layers"


def rate_label(
    lr: float | None, method: str, trainer: Mapping[str, Any]
) -> dict[str, float | None]:
    """Return a run's rate before D is known: lr, or what the rule computes it from."""
    full_lr, step_ratio = trainer.get("full_lr"), trainer.get("step_ratio")
    if lr is None and isinstance(full_lr, int | float) and isinstance(step_ratio, int | float):
        by_rule = {"lr": None, "rule": step_ratio * full_lr}
        return {"lr": full_lr, "rule": None} if method == "full" else by_rule
    return {"lr": lr, "rule": None}


def projection_label(projection: Mapping[str, Any], trainer: Mapping[str, Any]) -> str:
    """Return a projection's name with the options that are set: fastfood, released-exact.

    One whose d grows is another, fastfood-nested: its blocks are those of the largest d.
    """
    grows = trainer.get("grow_from") is not None
    parts = [*projection.values(), NESTED if grows else None]
    return "-".join(str(part) for part in parts if part is not None)
