"""Intrinsic dimension of language models: fine-tune in d numbers, and find the d that suffices.

The method is that of Aghajanyan, Zettlemoyer and Gupta (arXiv:2012.13255).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from said_lightning import projections
    from said_lightning.artifact.load import load
    from said_lightning.search.measure import measure
    from said_lightning.subspace.subspace import Subspace
    from said_lightning.training.callbacks import SubspaceCallback
    from said_lightning.training.transformers_trainer import SubspaceTrainerCallback

__all__ = [
    "Subspace",
    "SubspaceCallback",
    "SubspaceTrainerCallback",
    "__version__",
    "load",
    "measure",
    "projections",
]
__version__ = "0.1.0"

# Imported when they are asked for: `said d90` reads result files alone and starts without torch.
_HOMES = {
    "Subspace": "said_lightning.subspace.subspace",
    "SubspaceCallback": "said_lightning.training.callbacks",
    "SubspaceTrainerCallback": "said_lightning.training.transformers_trainer",
    "load": "said_lightning.artifact.load",
    "measure": "said_lightning.search.measure",
}


def __getattr__(name: str) -> Any:
    if name == "projections":
        return import_module("said_lightning.projections")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
