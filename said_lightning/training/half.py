"""Matrix products in half precision, on a processor that has none."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

SINGLE = "32-true"
PRODUCTS = {
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten.baddbmm.default,
    torch.ops.aten.convolution.default,
    torch.ops.aten.convolution_backward.default,
}


def half_products(precision: str) -> AbstractContextManager[object]:
    """Return the context in which a model of `precision` is to go forward and backward.

    PyTorch's own loops, where the processor has no instructions for half precision, take many times
    as long as float32 does; `InFloat32` takes less than twice as long, and rounds where they would.
    """
    if precision == SINGLE or torch.accelerator.is_available():
        return nullcontext()
    return nullcontext() if _has_instructions(precision.startswith("16")) else InFloat32()


def _has_instructions(float16: bool) -> bool:
    """Return whether the processor multiplies matrices of float16, or else of bfloat16."""
    if not torch.backends.mkldnn.is_available():
        return False
    native = torch.ops.mkldnn
    has = native._is_mkldnn_fp16_supported if float16 else native._is_mkldnn_bf16_supported
    return bool(has())


class InFloat32(TorchDispatchMode):
    """Make products of half precision in float32, and round each once."""

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func in PRODUCTS:
            half = args[0].dtype
            # A quantised weight stays as it is: its product is its own.
            if half in (torch.bfloat16, torch.float16) and all(map(is_plain, args)):
                found = func(*tree_map(lambda one: cast(one, half, torch.float32), args), **named)
                return tree_map(lambda one: cast(one, torch.float32, half), found)
        elif torch.is_inference_mode_enabled():
            # A layer arrives whole there, and not as the product that it is.
            with self:
                if (found := func.decompose(*args, **named)) is not NotImplemented:
                    return found
        return func(*args, **named)


def is_plain(value: Any) -> bool:
    """Whether a value is no tensor, or one of PyTorch's own."""
    return not isinstance(value, torch.Tensor) or type(value) in (torch.Tensor, torch.nn.Parameter)


def cast(value: Any, before: torch.dtype, after: torch.dtype) -> Any:
    """Return a tensor of `before` as one of `after`, and any other value as it is."""
    is_before = isinstance(value, torch.Tensor) and value.dtype == before
    return value.to(after) if is_before else value
