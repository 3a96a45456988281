"""The way from theta and lambda to the weights, written in place: theta_0 + lambda P theta."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from said_lightning.projections import Projection
from said_lightning.subspace.lazy import LazyTable


class Writer:
    """Writes the weights of all groups, from a copy of theta_0 or by differences.

    `lambdas` has no elements where there is no lambda (DID). `origin` is theta_0 by name, None
    where it is not kept.
    """

    def __init__(
        self,
        projection: Projection,
        theta: nn.Parameter,
        lambdas: nn.Parameter,
        groups: Mapping[str, list[str]],
        weights: Mapping[str, nn.Parameter],
        keep: bool,
    ) -> None:
        self.projection = projection
        self.theta = theta
        self.lambdas = lambdas
        self.groups = groups
        self.weights = weights
        self.origin = {n: w.detach().clone() for n, w in weights.items()} if keep else None
        self.lazy: dict[str, LazyTable] = {}
        self.note()

    @torch.no_grad()
    def write(self) -> None:
        """Write all weights, but leave lazy tables to those who read them."""
        for index, tensors in enumerate(self.groups.values()):
            scaled = self._scaled(self.theta, self.lambdas, index)
            if self.origin is None:
                scaled = scaled - self._scaled(*self.written, index)
            for name in self.lazy.keys() & set(tensors):
                self.lazy[name].outdate()
            now = [name for name in tensors if name not in self.lazy]
            weights = flat(self.weights, now)
            bases = weights if self.origin is None else flat(self.origin, now)
            if now:
                self.projection.write_all(weights, bases, scaled)
        self.note()

    @torch.no_grad()
    def adopt(self) -> None:
        """Take the weights as they are for theta_0 + lambda P theta."""
        if self.origin is not None:
            for index, tensors in enumerate(self.groups.values()):
                bases, weights = flat(self.origin, tensors), flat(self.weights, tensors)
                scaled = self._scaled(self.theta, self.lambdas, index)
                self.projection.write_all(bases, weights, -scaled)
        self.note()

    def note(self) -> None:
        """Note what the weights hold, and their versions, by which other writers are found."""
        self.written = self.theta.detach().clone(), self.lambdas.detach().clone()
        self._versions = {name: weight._version for name, weight in self.weights.items()}

    def changed(self) -> list[str]:
        """Return the weights that others have written since this did, by name."""
        suspects = [n for n, weight in self.weights.items() if weight._version != self._versions[n]]
        return [name for name in suspects if not self._as_written(name)]

    def defer(self, tables: Mapping[str, nn.Embedding]) -> None:
        """Make lazy tables of those of which the projection's engine can write pieces."""
        for index, tensors in enumerate(self.groups.values()):
            for name in tables.keys() & set(tensors):
                self._defer(name, index, tables[name])

    def settle(self) -> None:
        """Write what waits, and leave the lazy tables alone."""
        for table in self.lazy.values():
            table.remove()
        self.lazy.clear()

    def flush(self) -> None:
        """Write what waits."""
        for table in self.lazy.values():
            table.flush()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a `state_dict` whose large tables are dropped find them as they are."""
        for table in self.lazy.values():
            table.held = True
        try:
            yield
        finally:
            for table in self.lazy.values():
                table.held = False

    def move(self, move: Callable[[Tensor], Tensor]) -> None:
        """Move theta_0 and what is noted."""
        theta, lambdas = self.written
        self.written = move(theta), move(lambdas)
        if self.origin is not None:
            self.origin = {name: move(weight) for name, weight in self.origin.items()}

    @torch.no_grad()
    def _as_written(self, name: str) -> bool:
        """Return whether a weight holds the bits that were written, where that is known."""
        if self.origin is None:
            return False
        (index,) = [i for i, tensors in enumerate(self.groups.values()) if name in tensors]
        weight = self.weights[name].detach().view(-1)
        expected = torch.empty_like(weight)
        scaled = self._scaled(*self.written, index)
        self.projection.write(expected, self.origin[name].view(-1), scaled, name)
        return torch.equal(expected, weight)

    def _defer(self, name: str, index: int, table: nn.Embedding) -> None:
        def places() -> tuple[Tensor, Tensor]:
            assert self.origin is not None
            return self.weights[name].detach().view(-1), self.origin[name].view(-1)

        def write(pieces: Tensor) -> None:
            scaled = self._scaled(*self.written, index)
            self.projection.write_pieces(*places(), scaled, name, pieces)

        if piece := self.projection.piece(*places()):
            self.lazy[name] = LazyTable(table, piece, write)

    def _scaled(
        self, theta: Float[Tensor, " rest"], lambdas: Float[Tensor, " m"], index: int
    ) -> Float[Tensor, " rest"]:
        """Return lambda_l theta for a group, or theta alone where there is no lambda."""
        return lambdas[index] * theta if len(lambdas) else theta


def flat(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Float[Tensor, " _"]]:
    """Return tensors by name as flat views without a gradient."""
    return {name: tensors[name].detach().view(-1) for name in names}
