"""The way from theta and lambda to the weights, written in place: theta_0 + lambda P theta."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from said_lightning.projections import Projection
from said_lightning.subspace.gradients import SUMS
from said_lightning.subspace.lazy import LazyTable


class Writer:
    """Writes the weights of all groups, from copies of theta_0 or by differences.

    `lambdas` has no elements where there is no lambda (DID). `keep` names the weights of which
    theta_0 is kept, in `origin`. Of weights that stand nothing is written until they are settled.
    """

    def __init__(
        self,
        projection: Projection,
        theta: nn.Parameter,
        lambdas: nn.Parameter,
        groups: Mapping[str, list[str]],
        weights: Mapping[str, nn.Parameter],
        keep: Collection[str],
    ) -> None:
        self.projection = projection
        self.theta = theta
        self.lambdas = lambdas
        self.groups = groups
        self.weights = weights
        self.origin = {name: weights[name].detach().clone() for name in keep}
        self.lazy: dict[str, LazyTable] = {}
        self.standing: set[str] = set()
        self.holds = False
        self._index = {name: i for i, names in enumerate(groups.values()) for name in names}
        self.note()

    @torch.no_grad()
    def write(self) -> None:
        """Write all weights, but leave lazy tables to those who read them."""
        for table in self.lazy.values():
            table.outdate()
        weights = flat(self.weights, self.weights.keys() - self.lazy.keys() - self.standing)
        exact = {name: weight for name, weight in weights.items() if name in self.origin}
        others = {name: weight for name, weight in weights.items() if name not in self.origin}
        self._write_groups(exact, flat(self.origin, exact), self._now)
        self._write_groups(others, others, lambda groups: self._now(groups) - self._then(groups))
        self.note()

    @torch.no_grad()
    def adopt(self) -> None:
        """Take the weights as they are for theta_0 + lambda P theta; a theta_0 that fits stays."""
        self.note()
        weights = flat(self.weights, [n for n in self.origin if not self._as_written(n)])
        self._write_groups(flat(self.origin, weights), weights, lambda groups: -self._now(groups))

    @torch.no_grad()
    def stand(self, names: Collection[str]) -> None:
        """Bring weights to theta_0, where they stay until they are settled."""
        if not names:
            return
        kept = self.origin.keys() & names
        for name in kept:
            self.weights[name].detach().copy_(self.origin[name])
        weights = flat(self.weights, set(names) - kept)
        if self.written[0].any():
            self._write_groups(weights, weights, lambda groups: -self._then(groups))
        self.standing = set(names)
        self._note_versions()

    @torch.no_grad()
    def value(self, name: str) -> Tensor:
        """Return a standing weight as it will be once it is written."""
        weight = self.weights[name].detach()
        out = torch.empty_like(weight)
        row = slice(self._index[name], self._index[name] + 1)
        self.projection.write(out.view(-1), weight.view(-1), self._then(row)[0], name)
        return out

    def scaled(self, name: str) -> Float[Tensor, " d"]:
        """Return lambda theta as it moves a weight now."""
        index = self._index[name]
        return self._now(slice(index, index + 1))[0]

    def _write_groups(
        self,
        outs: Mapping[str, Float[Tensor, " _"]],
        bases: Mapping[str, Float[Tensor, " _"]],
        moves: Callable[[slice], Float[Tensor, "rows d"]],
    ) -> None:
        """Set outs = bases + P of what moves them, for a few groups at a time where d is large."""
        most = max(1, SUMS // len(self.theta)) if len(self.lambdas) else len(self.groups)
        for first in range(0, len(self.groups), most):
            tensors = list(self.groups.values())[first : first + most]
            rows = {name: i for i, names in enumerate(tensors) for name in names if name in outs}
            if not len(self.lambdas):
                rows = dict.fromkeys(rows, 0)
            if rows:
                thetas = moves(slice(first, first + most))
                self.projection.write_all({name: outs[name] for name in rows}, bases, thetas, rows)

    def _now(self, groups: slice) -> Float[Tensor, "rows d"]:
        """Return what moves some groups as theta and lambda are."""
        return self._scaled(self.theta.detach(), self.lambdas.detach(), groups)

    def _then(self, groups: slice) -> Float[Tensor, "rows d"]:
        """Return what moves some groups as it was written."""
        return self._scaled(*self.written, groups)

    def note(self) -> None:
        """Note what the weights hold, and their versions, by which other writers are found."""
        self.written = self.theta.detach().clone(), self.lambdas.detach().clone()
        self._note_versions()

    def _note_versions(self) -> None:
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

    @torch.no_grad()
    def settle(self) -> None:
        """Write what waits and what stands, and leave the lazy tables alone."""
        for table in self.lazy.values():
            table.remove()
        self.lazy.clear()
        if self.standing:
            weights = flat(self.weights, self.standing)
            self._write_groups(weights, weights, self._then)
            self.standing.clear()
            self._note_versions()

    def flush(self) -> None:
        """Write what waits."""
        for table in self.lazy.values():
            table.flush()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a `state_dict` whose weights are dropped find those that wait as they are."""
        self.holds = True
        for table in self.lazy.values():
            table.held = True
        try:
            yield
        finally:
            self.holds = False
            for table in self.lazy.values():
                table.held = False

    def move(self, move: Callable[[Tensor], Tensor]) -> None:
        """Move theta_0 and what is noted."""
        theta, lambdas = self.written
        self.written = move(theta), move(lambdas)
        self.origin = {name: move(weight) for name, weight in self.origin.items()}

    @torch.no_grad()
    def _as_written(self, name: str) -> bool:
        """Return whether a weight holds the bits that were written, where that is known."""
        if name not in self.origin:
            return False
        weight = self.weights[name].detach().view(-1)
        expected = torch.empty_like(weight)
        (scaled,) = self._then(slice(self._index[name], self._index[name] + 1))
        self.projection.write(expected, self.origin[name].view(-1), scaled, name)
        return torch.equal(expected, weight)

    def _defer(self, name: str, index: int, table: nn.Embedding) -> None:
        def places() -> tuple[Tensor, Tensor]:
            return self.weights[name].detach().view(-1), self.origin[name].view(-1)

        def write(pieces: Tensor) -> None:
            (scaled,) = self._then(slice(index, index + 1))
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
