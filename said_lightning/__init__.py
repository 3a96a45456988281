"""Intrinsic dimension of language models: fine-tune in d numbers, and find the d that suffices.

The method is that of Aghajanyan, Zettlemoyer and Gupta (arXiv:2012.13255).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from said_lightning.artifact.load import load
    from said_lightning.subspace.subspace import Subspace

__all__ = ["Subspace", "__version__", "load"]
__version__ = "0.1.0"


# `said d90` reads result files alone and must start without torch, which these need.
def __getattr__(name: str) -> Any:
    if name == "Subspace":
        from said_lightning.subspace.subspace import Subspace

        return Subspace
    if name == "load":
        from said_lightning.artifact.load import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
