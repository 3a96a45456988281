"""Which tensors of a model are trained, and which of them share a lambda."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from math import prod
from typing import Literal

from torch import nn

from said_lightning.errors import UserError, suggestion
from said_lightning.subspace.quantized import is_quantized, shape_of

# A rule, or the caller's own groups: name -> tensors, or modules whose tensors they are.
Groups = Literal["layer", "tensor"] | Mapping[str, Sequence[str]]


def split_head(
    model: nn.Module, head: str, quantized: str = "outside"
) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Split the trainable weights, tied ones once, into those inside the subspace and the rest.

    The head is what lies outside the encoder, transformers' `base_model_prefix`. With
    quantized="inside" weights in 4 or 8 bits count as trainable. Raise UserError for
    head="outside" where nothing is a head.
    """
    every = quantized == "inside"
    trainable = {
        name: weight
        for name, weight in model.named_parameters()
        if weight.requires_grad or (every and is_quantized(weight))
    }
    if head == "inside":
        return trainable, {}
    encoder = _encoder(model)
    inside = {name: w for name, w in trainable.items() if name.startswith(encoder)}
    if inside and len(inside) == len(trainable):
        raise UserError("head='outside': expected a model with a head beside its encoder")
    return inside, {name: w for name, w in trainable.items() if name not in inside}


def size(weight: nn.Parameter) -> int:
    """Return how many numbers a weight stands for, however its bits are packed."""
    return prod(shape_of(weight))


def budget(
    model: nn.Module,
    method: str,
    groups: str | Mapping[str, Sequence[str]],
    head: str,
    quantized: str = "outside",
) -> tuple[dict[str, list[str]], int]:
    """Return the groups of tensors (one group, "all", for DID) and D; needs no weights.

    Raise UserError where the caller's own groups do not hold every tensor once.
    """
    inside, _ = split_head(model, head, quantized)
    D = sum(map(size, inside.values()))
    if method == "did":
        return {"all": list(inside)}, D
    if isinstance(groups, Mapping):
        return given_groups(model, inside, groups), D
    if groups == "tensor":
        return {name: [name] for name in inside}, D
    return group_tensors(model, inside), D


def validate_budget(d: int, m: int, D: int) -> list[str]:
    """Return what is wrong with a budget of d numbers for m lambdas and D weights."""
    if D == 0:
        return ["the model has no trainable weights: all are frozen (requires_grad is False)"]
    if d <= m:
        reason = f", since SAID takes its m={m} lambdas out of d" if m else ""
        return [f"d={d}: expected at least {m + 1}{reason}"]
    if d > D:
        return [f"d={d}: the model has only D={D:,} trainable weights; d can be at most {D}"]
    return []


def given_groups(
    model: nn.Module, weights: Mapping[str, nn.Parameter], groups: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Return the caller's groups as lists of tensors, in the model's order.

    A name stands for a tensor or for all tensors of a module. Raise UserError, with all mistakes,
    where a name is unknown, a tensor is in two groups or in none, or a group is empty.
    """
    first = {id(weight): name for name, weight in weights.items()}
    every = model.named_parameters(remove_duplicate=False)  # a tied tensor by either name
    names = {name: first[id(weight)] for name, weight in every if id(weight) in first}
    wrong: list[str] = []
    owners: dict[str, list[str]] = {tensor: [] for tensor in weights}
    for group, entries in groups.items():
        if isinstance(entries, str) or not entries:
            wrong.append(f"groups[{group!r}]={entries!r}: expected a list of tensors or modules")
            continue
        for entry in entries:
            found = {names[n] for n in names if n == entry or n.startswith(f"{entry}.")}
            if not found:
                near = suggestion(entry, names)
                wrong.append(f"groups[{group!r}]: no trainable tensor or module {entry!r}{near}")
            for tensor in found - {t for t, held in owners.items() if group in held}:
                owners[tensor].append(group)
    wrong += [
        f"groups: {tensor} is in {' and '.join(map(repr, held))}; expected one group"
        for tensor, held in owners.items()
        if len(held) > 1
    ]
    if missing := [tensor for tensor, held in owners.items() if not held]:
        wrong.append(f"groups: in no group: {', '.join(missing)}")
    if wrong:
        raise UserError(*wrong)
    return {group: [t for t, held in owners.items() if held == [group]] for group in groups}


def group_tensors(model: nn.Module, weights: Mapping[str, nn.Parameter]) -> dict[str, list[str]]:
    """Group tensors by layer, in the model's order: embeddings, layer.0, layer.1, ..., head.

    A layer is an element of an outermost nn.ModuleList. Embeddings are what comes before the first
    layer or lies beside the layers in their stack (relative positions, an encoder's final norm);
    the head is the rest (pooler, classifier), and all outside the encoder. Where a model has
    several stacks, their names come first: encoder.layer.0, decoder.layer.0.

    The last norm of a decoder-only language model (GPT-2's ln_f, Llama's norm) lies beside its
    layers, but it scales what the head reads and nothing else: it belongs to the head.

    A model without such lists has its modules for layers, by their names: see `_modules`.
    """
    # Of the whole model: where theta moves some weights alone, their names would say less.
    every = [name for name, _ in model.named_parameters()]
    lists = set(_lists(model))
    layers = {name: layer for name in every if (layer := _layer(name, lists)) is not None}
    if not layers:
        return _by_module(model, weights)
    stacks = {stack for stack, _ in layers.values()}
    before = set(takewhile(lambda name: name not in layers, every))
    last = tuple(_last_norms(model, every, stacks))
    encoder = _encoder(model)
    groups: dict[str, list[str]] = {"embeddings": []}
    head = []
    for name in weights:
        if name in layers:
            stack, index = layers[name]
            prefix = f"{stack.rpartition('.')[2]}." if len(stacks) > 1 else ""
            groups.setdefault(f"{prefix}layer.{index}", []).append(name)
        elif name.startswith(last):
            head.append(name)
        elif name.startswith(encoder) and (name in before or _beside(name, stacks)):
            groups["embeddings"].append(name)
        else:
            head.append(name)
    groups["head"] = head
    return {group: tensors for group, tensors in groups.items() if tensors}


def _lists(model: nn.Module) -> Iterator[str]:
    """Name the lists of layers; one inside an nn.Sequential is part of a layer."""
    sequences: tuple[str, ...] = ()
    for name, part in model.named_modules():
        if isinstance(part, nn.Sequential):
            sequences = (*sequences, f"{name}." if name else "")
        elif isinstance(part, nn.ModuleList) and not name.startswith(sequences):
            yield name


def _layer(name: str, lists: set[str]) -> tuple[str, int] | None:
    """Find the stack of layers that a tensor lies in, and its layer there, outermost first."""
    parts = name.split(".")
    for index, part in enumerate(parts):
        if part.isdigit() and ".".join(parts[:index]) in lists:
            return ".".join(parts[: index - 1]), int(part)
    return None


def _encoder(model: nn.Module) -> str:
    """Return the start of the encoder's tensor names, "" for a model that is one."""
    name = getattr(model, "base_model_prefix", "")
    return f"{name}." if name and hasattr(model, name) else ""


def _beside(name: str, stacks: Iterable[str]) -> bool:
    return any(stack and name.startswith(f"{stack}.") for stack in stacks)


def _last_norms(model: nn.Module, every: Sequence[str], stacks: Iterable[str]) -> Iterator[str]:
    """Yield the starts of the names of norms in stacks that hold word embeddings of their own."""
    for stack in filter(None, stacks):
        children = dict(model.get_submodule(stack).named_children())
        tables = [name for name, part in children.items() if isinstance(part, nn.Embedding)]
        # A table that the encoder and the decoder share goes by another name first.
        if any(f"{stack}.{table}.weight" in every for table in tables):
            for name in children:
                if ("norm" in name or name.startswith("ln")) and "emb" not in name:
                    yield f"{stack}.{name}."


def _by_module(model: nn.Module, weights: Mapping[str, nn.Parameter]) -> dict[str, list[str]]:
    """Group tensors by the module that is their layer, in the model's order."""
    root, modules = _modules(model)
    groups: dict[str, list[str]] = {}
    for name in weights:
        owners = (module for module in modules if name.startswith(f"{module}."))
        groups.setdefault(next(owners, root or "model"), []).append(name)
    return groups


def _modules(model: nn.Module) -> tuple[str, list[str]]:
    """Name the module that holds the layers, and the layers of a model without an nn.ModuleList.

    They are the model's children, and the children of an nn.Sequential in its place. A model that
    only wraps another, as a LightningModule does, is looked through.
    """
    root, part = "", model
    while len(inner := _children(root, part)) == 1 and not [*part.parameters(recurse=False)]:
        ((root, part),) = inner.items()
    found: list[str] = []
    for name, child in inner.items():
        nested = isinstance(child, nn.Sequential) and not isinstance(part, nn.Sequential)
        found += _children(name, child) if nested else [name]
    return root, found


def _children(name: str, part: nn.Module) -> dict[str, nn.Module]:
    """Return a module's children that have weights, by their names in the model."""
    start = f"{name}." if name else ""
    return {f"{start}{n}": c for n, c in part.named_children() if any(True for _ in c.parameters())}
