"""The space that theta moves: all weights, or LoRA factors, biases or the head alone."""

import torch
from torch import Tensor, nn

from said_lightning.errors import UserError
from said_lightning.projections.core import random
from said_lightning.subspace.groups import group_tensors
from said_lightning.subspace.quantized import shape_of

# What LoRA is put on, the attention's queries and values, by the names that encoders give them.
QUERIES_AND_VALUES = (
    *("query", "value", "query_proj", "value_proj", "q_proj", "v_proj"),
    *("q_lin", "v_lin", "q", "v", "Wqkv"),
)
# Both of LoRA's factors are in the subspace and start at 0, where neither has a gradient: a saddle.
# So theta starts at numbers uniform within this bound, as in Uni-LoRA (arXiv 2506.00799).
START = 0.02


def confine(model: nn.Module, space: str, r: int = 8) -> None:
    """Freeze in place what a space leaves out; the head, which starts at random, stays.

    The space `lora` adds factors A and B of rank r beside queries and values, both 0.

    Raise UserError where the model has nothing that the space could hold, r is more than the rank
    of what it has, or PEFT is missing.
    """
    if space == "all":
        return
    kept = set(group_tensors(model, dict(model.named_parameters())).get("head", []))
    if space == "lora":
        add_factors(model, r)
    mark = {"lora": ".lora_", "bias": "bias", "head": None}[space]
    found = [name for name, _ in model.named_parameters() if mark and mark in name]
    if mark and not found:
        raise UserError(f"method.space={space}: the model has no such weights")
    kept.update(found)
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in kept)


@torch.no_grad()
def add_factors(model: nn.Module, r: int) -> None:
    """Put LoRA (arXiv 2106.09685) on queries and values: W x + B A x, A and B of rank r all 0."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UserError(
            "method.space=lora needs PEFT: pip install 'said_lightning[lora]'"
        ) from None
    names = ", ".join(QUERIES_AND_VALUES)
    ranks = [
        min(shape_of(layer.weight))
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and name.rpartition(".")[2] in QUERIES_AND_VALUES
    ]
    if not ranks:
        raise UserError(f"method.space=lora: the model has no linear map named {names}")
    # Before anything is allocated: r may come from a file.
    if r > (most := min(ranks)):
        raise UserError(f"method.r={r}: expected at most {most}, the rank of queries and values")
    config = LoraConfig(r=r, lora_alpha=r, target_modules=list(QUERIES_AND_VALUES))
    inject_adapter_in_model(config, model)
    for name, weight in model.named_parameters():
        if ".lora_" in name:
            weight.zero_()


def merge_factors(model: nn.Module) -> None:
    """Add B A into the weights that carry LoRA, in place, and leave a model without factors."""
    for name, layer in list(model.named_modules()):
        if hasattr(layer, "lora_A") and hasattr(layer, "merge"):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.get_base_layer())


@torch.no_grad()
def start(theta: Tensor, seed: int) -> None:
    """Draw a theta in the space `lora` uniformly within START of 0, from the seed alone."""
    halves = random.half_words(random.key(seed, "theta", "start"), 0, theta.numel())
    theta.copy_(START * ((halves + 0.5) / 2**15 - 1))
