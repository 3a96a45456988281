"""The choices of a Subspace, and what is wrong with those that were made."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from torch import nn

from said_lightning.projections import find, names
from said_lightning.subspace.quantized import is_quantized

Method = Literal["said", "did"]
Head = Literal["inside", "outside"]
Origin = Literal["copy", "none"]
Quantized = Literal["inside", "outside"]


def validate_options(
    method: str,
    groups: str | Mapping[str, Sequence[str]],
    head: str,
    origin: str,
    quantized: str,
    projection: str,
    options: Mapping[str, Any],
) -> list[str]:
    """Return the choices that are none, each with the valid ones, and unknown keywords."""
    choices: dict[str, tuple[Any, tuple[str, ...]]] = {
        "method": (method, get_args(Method)),
        "head": (head, get_args(Head)),
        "origin": (origin, get_args(Origin)),
        "quantized": (quantized, get_args(Quantized)),
        "projection": (projection, tuple(names())),
    }
    if not isinstance(groups, Mapping):
        choices["groups"] = (groups, ("layer", "tensor"))
    found = [
        f"{keyword}={value!r}: expected one of {', '.join(map(repr, valid))}"
        for keyword, (value, valid) in choices.items()
        if value not in valid
    ]
    able = projection == "kronecker" and options.get("basis", "random") == "random"
    if quantized == "inside" and not able:
        found.append(
            "quantized='inside': expected projection='kronecker' with basis='random', since such "
            "weights can neither be written nor decomposed"
        )
    if projection in names():
        own = set(inspect.signature(find(projection).__init__).parameters) | {"engine"}
        own -= {"self", "sizes", "d", "seed"}
        found += [
            f"{keyword}={value!r}: neither an option of Subspace nor of projection={projection!r}"
            for keyword, value in options.items()
            if keyword not in own
        ]
    return found


def validate_weights(weights: Mapping[str, nn.Parameter], drift: bool) -> list[str]:
    """Return why weights cannot be trained in a subspace: not there, or of too few bits.

    drift: whether small differences are added to them.
    """
    found = []
    if any(weight.is_meta for weight in weights.values()):
        found.append("the model is on the meta device: expected allocated and loaded weights")
    if not all(weight.is_contiguous() for weight in weights.values()):
        found.append("the model has weights in another memory format: expected contiguous ones")
    short = {str(w.dtype) for w in weights.values() if w.dtype.itemsize < 4}
    if short and drift:
        found.append(
            f"origin='none': expected origin='copy' for {', '.join(sorted(short))} weights, to "
            "which small differences cannot be added"
        )
    return found


def validate_unchanged(
    model: nn.Module, weights: Mapping[str, nn.Parameter], changed: Sequence[str]
) -> list[str]:
    """Return in what a model is another than the one that a subspace was made of."""
    now = dict(model.named_parameters())
    facts = {
        "replaced": [name for name, weight in weights.items() if now.get(name) is not weight],
        "frozen": [
            name
            for name, weight in weights.items()
            if not (weight.requires_grad or is_quantized(weight))
        ],
        "changed": changed,
    }
    return [
        f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {what} since the "
        "Subspace was made; expected a Subspace made when the model is complete and loaded"
        for what, names in facts.items()
        if names
    ]
