"""A large word embedding is written when it is read, and no reader sees a difference."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from said_lightning import Subspace
from said_lightning.config.schema import Config, MethodConfig, ProjectionConfig
from said_lightning.models.build import build_subspace
from said_lightning.subspace import lazy

WORDS, WIDTH = 3000, 24


class Bag(nn.Module):
    """A word embedding of 72,000 weights and a head, or a decoder tied to the embedding."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.head = nn.Linear(WIDTH, WORDS if tied else 2)
        if tied:
            self.head.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Return [batch, 2] logits of [batch, words] ids."""
        logits: Tensor = self.head(self.words(ids).mean(1))
        return logits


@pytest.fixture(autouse=True)
def tables_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "LARGE", 1000)


def train(origin: Any = "copy", tied: bool = False) -> Iterator[tuple[Bag, Subspace, Tensor]]:
    """Make steps of a small batch each; yield the model, its subspace and the logits after each."""
    torch.manual_seed(0)
    model = Bag(tied)
    subspace = Subspace(model, 40, origin=origin, lazy=True)
    subspace.attach()
    optimizer = torch.optim.Adam(subspace.numbers(), lr=0.1)
    for _ in range(5):
        logits = model(torch.randint(WORDS, (2, 3)))
        logits.square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        subspace.write()
        yield model, subspace, logits.detach()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Return the logits of the steps, and the weights in the end, where nothing waits."""
    with monkeypatch.context() as patch:
        patch.setattr(lazy, "LARGE", 10**9)
        steps = list(train())
        assert not steps[0][1]._writer.lazy
    return [*(logits for _, _, logits in steps), steps[-1][0].words.weight.detach().clone()]


def read_the_state(model: Bag, subspace: Subspace) -> Tensor:
    return model.state_dict()["words.weight"]


def flush(model: Bag, subspace: Subspace) -> Tensor:
    subspace.flush()
    return model.words.weight


def detach(model: Bag, subspace: Subspace) -> Tensor:
    subspace.detach()
    return model.words.weight


def read_all_rows(model: Bag, subspace: Subspace) -> Tensor:
    with torch.inference_mode():
        rows: Tensor = model.words(torch.arange(WORDS))
    return rows


@pytest.mark.parametrize("read", [read_the_state, flush, detach, read_all_rows])
def test_every_reader_gets_the_bits_of_weights_written_at_once(
    at_once: list[Tensor], read: Callable[[Bag, Subspace], Tensor]
) -> None:
    steps = list(train())
    model, subspace, _ = steps[-1]
    assert not torch.equal(model.words.weight, at_once[-1])
    assert torch.equal(read(model, subspace), at_once[-1])
    for (_, _, logits), expected in zip(steps, at_once, strict=False):
        assert torch.equal(logits, expected)


def test_a_held_table_stays_as_it_is_in_a_state_that_drops_it() -> None:
    model, subspace, _ = list(train())[-1]
    before = model.words.weight.detach().clone()
    with subspace.held():
        model.state_dict()
    assert torch.equal(model.words.weight, before)
    model.state_dict()
    assert not torch.equal(model.words.weight, before)


def test_a_forward_pass_writes_no_more_than_what_it_reads() -> None:
    (model, subspace, _), *_ = train()
    before = model.words.weight.detach().clone()
    with torch.no_grad():
        subspace.theta.add_(1)
    subspace.write()
    assert torch.equal(model.words.weight, before)
    model(torch.tensor([[0, 1, 2999]]))
    changed = (model.words.weight != before).any(1).nonzero().view(-1)
    assert {0, 1, 2999} <= set(changed.tolist())
    assert len(changed) < WORDS / 10


def test_a_table_waits_only_where_the_caller_vouches_for_its_readers() -> None:
    for lazy_ in (False, True):
        subspace = Subspace(Bag(), 40, lazy=lazy_)
        subspace.attach()
        assert set(subspace._writer.lazy) == ({"words.weight"} if lazy_ else set())


def test_a_runs_tables_wait(make_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "LARGE", 500)
    config = Config(method=MethodConfig("said"), projection=ProjectionConfig("fastfood"), d=60)
    subspace = build_subspace(make_model(), config)
    subspace.attach()
    assert "bert.embeddings.word_embeddings.weight" in subspace._writer.lazy


@pytest.mark.parametrize("options", [{"origin": "none"}, {"tied": True}])
def test_weights_that_others_read_or_that_keep_no_origin_do_not_wait(
    options: dict[str, object],
) -> None:
    (_, subspace, _), *_ = train(**options)  # type: ignore[arg-type]
    assert not subspace._writer.lazy


class Positions(nn.Embedding):
    """Learned positions that begin at row 2 and get no more than their number, like BART's."""

    def forward(self, ids: Tensor, start: int = 0) -> Tensor:
        """Return [words, width] rows for [batch, words] ids."""
        return super().forward(torch.arange(start, start + ids.shape[1]) + 2)


class Ordered(Bag):
    """A bag of words that also counts where they stand."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = Positions(1026, WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        """Return [batch, 2] logits of [batch, words] ids."""
        logits: Tensor = self.head((self.words(ids) + self.positions(ids, start=1)).mean(1))
        return logits


def test_a_table_that_reads_other_rows_than_it_is_given_does_not_wait() -> None:
    subspace = Subspace(model := Ordered(), 40, lazy=True)
    subspace.attach()
    model(torch.randint(WORDS, (2, 3))).sum().backward()
    assert set(subspace._writer.lazy) == {"words.weight"}
