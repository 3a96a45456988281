"""Random linear maps from R^d to the weights: pure linear algebra and counter-based randomness."""

import importlib
import pkgutil
from pathlib import Path
from typing import Any

from said_lightning.projections.core.dot_test import dot_test
from said_lightning.projections.core.engine import ENGINES
from said_lightning.projections.core.projection import Projection, Sizes

__all__ = ["Projection", "build", "dot_test", "engines_of", "find", "names"]


def names() -> list[str]:
    """List the projections: every module of this package holds one."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def engines_of(name: str) -> list[str]:
    """List what can serve a projection here: "torch", the reference, first."""
    files = sorted((Path(__file__).parent / "engines").glob(f"{name}_*.py"))
    engines = [file.stem.removeprefix(f"{name}_") for file in files]
    return ["torch", *(engine for engine in engines if engine in ENGINES.values())]


def find(name: str) -> type[Projection]:
    """Return the class of a projection. Raise ValueError for an unknown name."""
    if name not in names():
        raise ValueError(f"no projection {name!r}; there are {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    members = [kind for kind in vars(module).values() if isinstance(kind, type)]
    own = (kind for kind in members if kind.__module__ == module.__name__)
    return next(kind for kind in own if issubclass(kind, Projection))


def build(
    name: str,
    sizes: Sizes,
    d: int,
    seed: int,
    engine: str | None = None,
    **options: Any,
) -> Projection:
    """Build the projection `name`, from R^d to the tensors of a model.

    Args:
        name: one of `names()`.
        sizes: the number of elements, or the shape, of each tensor by its name.
        d: the numbers that are projected.
        seed: of all that P draws.
        engine: one of `engines_of(name)`; None picks by device.
        **options: the projection's own.

    Raises:
        ValueError: an unknown name or engine, or a d or a size that is not positive.
    """
    if engine not in (None, *(engines := engines_of(name))):
        raise ValueError(f"no engine {engine!r} for {name}; there are {', '.join(engines)}")
    projection = find(name)(sizes, d, seed, **options)
    projection.engine = engine
    return projection
