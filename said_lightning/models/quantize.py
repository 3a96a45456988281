"""Linear layers whose weights are held in 4 or 8 bits while theta trains (bitsandbytes)."""

import logging
from importlib import import_module
from typing import Any

import torch
from torch import nn

from said_lightning.errors import UserError, validate_installed
from said_lightning.subspace.groups import group_tensors
from said_lightning.subspace.quantized import steady


def to_quantize(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers of the encoder by name: not the head's, and none that share one."""
    parameters = dict(model.named_parameters())
    head = set(group_tensors(model, parameters).get("head", []))
    holders: dict[int, int] = {}
    for part in model.modules():
        for weight in part.parameters(recurse=False):
            holders[id(weight)] = holders.get(id(weight), 0) + 1
    return {
        name: part
        for name, part in model.named_modules()
        if type(part) is nn.Linear
        and f"{name}.weight" in parameters.keys() - head
        and holders[id(part.weight)] == 1
    }


def quantize(model: nn.Module, kind: str) -> None:
    """Hold the weights of linear layers as `nf4` (arXiv 2305.14314) or `int8` (2208.07339).

    Raise UserError where bitsandbytes is missing.
    """
    if lacking := validate_installed("bitsandbytes", "quantize", f"method.quantize={kind}"):
        raise UserError(*lacking)
    # It would say in each layer, at each step, that float32 becomes float16 on the way to 8 bits.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    for name, layer in to_quantize(model).items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, quantized(layer, kind))


def quantized(layer: nn.Linear, kind: str) -> nn.Module:
    """Return a linear layer with its weight in fewer bits, and its bias as it is."""
    bits: Any = import_module("bitsandbytes.nn")
    bias, (out, inner) = layer.bias, layer.weight.shape
    with torch.device("meta"):
        if kind == "nf4":
            made = bits.Linear4bit(inner, out, bias is not None, quant_type="nf4")
            weight = bits.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
        else:
            made = bits.Linear8bitLt(
                inner, out, bias is not None, has_fp16_weights=False, threshold=6.0
            )
            weight = bits.Int8Params(layer.weight.data, requires_grad=False)
    made.weight, made.bias = weight.to(layer.weight.device), bias
    steady(made)
    trained: nn.Module = made.train(layer.training)
    return trained
