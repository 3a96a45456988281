"""Weights of linear layers in 4 or 8 bits, as bitsandbytes and torchao hold them.

No step can write them: they stand, and what P moves is added to what leaves their layers.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass


def is_quantized(weight: Tensor) -> bool:
    """Return whether a weight is held in fewer bits than a number that is trained."""
    if weight.requires_grad:
        return False
    return not weight.dtype.is_floating_point or is_traceable_wrapper_subclass(weight)


def shape_of(weight: Tensor) -> tuple[int, ...]:
    """Return a weight's shape, out x in, however its bits are packed."""
    state = getattr(weight, "quant_state", None)  # bitsandbytes packs two numbers into a byte
    return tuple(weight.shape if state is None else state.shape)


def validate_quantized(weights: Mapping[str, Tensor], moved: Mapping[str, object]) -> list[str]:
    """Return which quantized weights no layer can add to, among those to be moved."""
    lost = [name for name, one in weights.items() if is_quantized(one) and name not in moved]
    if not lost:
        return []
    more = f" and {len(lost) - 1} more" if lost[1:] else ""
    return [
        f"{lost[0]}{more}: quantized weights cannot be written; expected projection='kronecker' "
        "and linear layers with more weights than d, or quantized='outside'"
    ]


def steady(layer: Any) -> None:
    """Keep a layer's weight in the layout that gradients pass through.

    bitsandbytes packs it anew on some CPUs as soon as it is evaluated, and no gradient passes then.
    """
    if hasattr(layer, "support_avx512bf16_for_cpu"):
        layer.support_avx512bf16_for_cpu = False
        layer.state_dict()  # unpacks


def output(layer: nn.Module, x: Tensor) -> Tensor:
    """Return what a layer makes of x by its weight alone, without its bias."""
    bias = layer._parameters.get("bias")
    if bias is None:
        return _forward(layer, x)
    # bitsandbytes would cast the bias itself to the input's dtype, for good.
    layer._parameters["bias"] = None
    try:
        return _forward(layer, x)
    finally:
        layer._parameters["bias"] = bias


def _forward(layer: nn.Module, x: Tensor) -> Tensor:
    made: Tensor = type(layer).forward(layer, x)
    return made
