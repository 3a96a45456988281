"""Which tensors of a model are trained, and which of them share a lambda."""

from itertools import takewhile

from torch import nn


def split_head(
    model: nn.Module, head: str
) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Splits the trainable weights, tied ones once, into those inside the subspace and the rest.

    The head is what lies outside the encoder, transformers' `base_model_prefix`, if any.
    """
    trainable = {name: w for name, w in model.named_parameters() if w.requires_grad}
    if head == "inside":
        return trainable, {}
    encoder = _encoder(model)
    inside = {name: w for name, w in trainable.items() if name.startswith(encoder)}
    return inside, {name: w for name, w in trainable.items() if name not in inside}


def group_tensors(model: nn.Module, weights: dict[str, nn.Parameter]) -> dict[str, list[str]]:
    """Groups tensors by layer, in the model's order: embeddings, layer.0, layer.1, ..., head.

    A layer is an element of an outermost nn.ModuleList. Embeddings are what comes before the first
    layer or lies beside the layers in their stack (relative positions, a final norm); the head is
    the rest (pooler, classifier), and all outside the encoder. Where a model has several stacks,
    their names come first: encoder.layer.0, decoder.layer.0.
    """
    lists = {name for name, part in model.named_modules() if isinstance(part, nn.ModuleList)}
    # Of the whole model: where theta moves some weights alone, their names would tell less.
    every = [name for name, _ in model.named_parameters()]
    layers = {name: layer for name in every if (layer := _layer(name, lists)) is not None}
    stacks = {stack for stack, _ in layers.values()}
    before = set(takewhile(lambda name: name not in layers, every))
    encoder = _encoder(model)
    groups: dict[str, list[str]] = {"embeddings": []}
    head = []
    for name in weights:
        if name in layers:
            stack, index = layers[name]
            prefix = f"{stack.rpartition('.')[2]}." if len(stacks) > 1 else ""
            groups.setdefault(f"{prefix}layer.{index}", []).append(name)
        elif name.startswith(encoder) and (name in before or _beside(name, stacks)):
            groups["embeddings"].append(name)
        else:
            head.append(name)
    groups["head"] = head
    return {group: tensors for group, tensors in groups.items() if tensors}


def _layer(name: str, lists: set[str]) -> tuple[str, int] | None:
    """Finds the stack of layers that a tensor lies in, and its layer there, outermost first."""
    parts = name.split(".")
    for index, part in enumerate(parts):
        if part.isdigit() and ".".join(parts[:index]) in lists:
            return ".".join(parts[: index - 1]), int(part)
    return None


def _encoder(model: nn.Module) -> str:
    """Gives the start of the encoder's tensor names, "" for a model that is one."""
    name = getattr(model, "base_model_prefix", "")
    return f"{name}." if name and hasattr(model, name) else ""


def _beside(name: str, stacks: set[str]) -> bool:
    return any(stack and name.startswith(f"{stack}.") for stack in stacks)
