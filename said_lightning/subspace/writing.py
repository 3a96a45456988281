"""The way from theta and lambda to the weights, written in place: theta_0 + lambda P theta."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from said_lightning.projections import Projection
from said_lightning.subspace.gradients import SUMS
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
        for table in self.lazy.values():
            table.outdate()
        weights = flat(self.weights, [name for name in self.weights if name not in self.lazy])
        bases = weights if self.origin is None else flat(self.origin, weights)
        self._write_groups(weights, bases)
        self.note()

    @torch.no_grad()
    def adopt(self) -> None:
        """Take the weights as they are for theta_0 + lambda P theta."""
        if self.origin is not None:
            weights = flat(self.weights, self.weights)
            self._write_groups(flat(self.origin, weights), weights, -1)
        self.note()

    def _write_groups(
        self,
        outs: Mapping[str, Float[Tensor, " _"]],
        bases: Mapping[str, Float[Tensor, " _"]],
        sign: int = 1,
    ) -> None:
        """Set outs = bases + P of what moves them, for a few groups at a time where d is large."""
        most = max(1, SUMS // len(self.theta)) if len(self.lambdas) else len(self.groups)
        for first in range(0, len(self.groups), most):
            tensors = list(self.groups.values())[first : first + most]
            rows = {name: i for i, names in enumerate(tensors) for name in names if name in outs}
            if not len(self.lambdas):
                rows = dict.fromkeys(rows, 0)
            if rows:
                thetas = sign * self._moves(slice(first, first + most))
                self.projection.write_all({name: outs[name] for name in rows}, bases, thetas, rows)

    def _moves(self, groups: slice) -> Float[Tensor, "rows d"]:
        """Return by what theta moves each group, from theta_0 or from what is written."""
        moves = self._scaled(self.theta, self.lambdas, groups)
        if self.origin is None:
            moves = moves - self._scaled(*self.written, groups)
        return moves

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
        (scaled,) = self._scaled(*self.written, slice(index, index + 1))
        self.projection.write(expected, self.origin[name].view(-1), scaled, name)
        return torch.equal(expected, weight)

    def _defer(self, name: str, index: int, table: nn.Embedding) -> None:
        def places() -> tuple[Tensor, Tensor]:
            assert self.origin is not None
            return self.weights[name].detach().view(-1), self.origin[name].view(-1)

        def write(pieces: Tensor) -> None:
            (scaled,) = self._scaled(*self.written, slice(index, index + 1))
            self.projection.write_pieces(*places(), scaled, name, pieces)

        if piece := self.projection.piece(*places()):
            self.lazy[name] = LazyTable(table, piece, write)

    def _scaled(
        self, theta: Float[Tensor, " d"], lambdas: Float[Tensor, " m"], groups: slice
    ) -> Float[Tensor, "rows d"]:
        """Return lambda_l theta for some groups, or theta alone where there is no lambda."""
        return lambdas[groups, None] * theta if len(lambdas) else theta[None]


def flat(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Float[Tensor, " _"]]:
    """Return tensors by name as flat views without a gradient."""
    return {name: tensors[name].detach().view(-1) for name in names}
