"""What computes P here: an engine for the device, in the dtypes that it takes."""

import importlib
import importlib.util
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, reduce, wraps
from types import ModuleType
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

# What serves a device type; any other is served by the reference.
ENGINES = {"cpu": "numba"} | ({"cuda": "triton"} if importlib.util.find_spec("triton") else {})

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def exact(method: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a method compute in the dtypes that it is given, and without a gradient."""

    @wraps(method)
    def run(*arguments: Arguments.args, **keywords: Arguments.kwargs) -> Result:
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            for kind in filter(torch.is_autocast_enabled, ("cpu", "cuda")):
                stack.enter_context(torch.autocast(kind, enabled=False))
            return method(*arguments, **keywords)

    return run


def widest(*tensors: Tensor) -> torch.dtype:
    """Return the dtype that a sum of tensors is formed in, float32 at least."""
    return reduce(torch.promote_types, (part.dtype for part in tensors), torch.float32)


def ready(engine: ModuleType, dtype: torch.dtype, *tensors: Tensor) -> bool:
    """Return whether an engine takes tensors as they are."""
    mixed = getattr(engine, "MIXED", False)
    return all(part.is_contiguous() and (mixed or part.dtype == dtype) for part in tensors)


@cache
def find_engine(projection: str, engine: str) -> ModuleType | None:
    """Import `engines/<projection>_<engine>.py`, or return None where there is none."""
    module = f"said_lightning.projections.engines.{projection}_{engine}"
    return importlib.import_module(module) if importlib.util.find_spec(module) else None
