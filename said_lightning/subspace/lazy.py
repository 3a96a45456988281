"""Word embeddings that are written no sooner than they are read.

A batch reads a few thousand rows of a table of tens or hundreds of thousands, which may hold half
of the model's weights or more.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

LARGE = 2**20  # weights of a table for which waiting pays


class LazyTable:
    """Keeps an embedding's weights out of date, but for rows that a forward pass reads.

    `write(pieces)` brings pieces of `piece` of its flattened weights up to date. A forward pass and
    `state_dict` find what they read up to date, `state_dict` unless the table is `held`; whoever
    reads the weights otherwise calls `flush` first.
    """

    def __init__(
        self, table: nn.Embedding, piece: int, write: Callable[[Int[Tensor, " pieces"]], None]
    ) -> None:
        self._piece = piece
        self._write = write
        self.held = False
        self._stale = torch.zeros(-(-table.weight.numel() // piece), dtype=torch.bool)
        self._handles = [
            table.register_forward_pre_hook(self._before),
            table.register_state_dict_pre_hook(self._before_state),
        ]

    def outdate(self) -> None:
        """Note that all weights are to be written anew."""
        self._stale.fill_(True)

    def flush(self) -> None:
        """Write all that is out of date."""
        self._bring(self._stale.nonzero().view(-1))

    def remove(self) -> None:
        """Write all that is out of date and leave the table alone."""
        self.flush()
        for handle in self._handles:
            handle.remove()

    def _before(self, table: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        (ids,) = arguments
        width: int = table.weight.shape[1]  # type: ignore[index, assignment]
        starts = ids.reshape(-1).unique() * width
        read = torch.zeros_like(self._stale)
        for offset in (*range(0, width - 1, self._piece), width - 1):
            read[(starts + offset) // self._piece] = True
        self._bring((read & self._stale).nonzero().view(-1))

    def _before_state(self, *_: object) -> None:
        if not self.held:
            self.flush()

    def _bring(self, pieces: Int[Tensor, " pieces"]) -> None:
        if len(pieces):
            self._write(pieces)
            self._stale[pieces] = False


def large_tables(model: nn.Module, weights: Mapping[str, nn.Parameter]) -> dict[str, nn.Embedding]:
    """Find the large embeddings among the weights, by name, whose weights nothing else holds.

    Those of a class with a forward of its own, such as BART's positions, may read other rows than
    they are given, and are left out.
    """
    holders: dict[int, list[nn.Module]] = {}
    for module in model.modules():
        for weight in module.parameters(recurse=False):
            holders.setdefault(id(weight), []).append(module)
    found: dict[str, Any] = {}
    for name, weight in weights.items():
        first, *others = holders[id(weight)]
        plain = type(first).forward is nn.Embedding.forward
        if plain and not others and weight.numel() >= LARGE:
            found[name] = first
    return found
