"""Any torch module trains in an ordinary loop, and an ordinary model is left."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import said_lightning
from said_lightning import Subspace

d = 12
Step = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], None]


def net() -> Any:
    """Return a small net, the same at every call."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def batches(count: int = 4) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of five random rows and their labels."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        yield torch.randn(5, 6, generator=generator), torch.arange(5) % 3


def plain(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """Make a step that never clears a gradient itself."""
    cross_entropy(model(x), y).backward()
    optimizer.step()


def as_trainers_do(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor
) -> None:
    """Make a step of a loop that clears the model's gradients alone, as in transformers."""
    plain(model, optimizer, x, y)
    model.zero_grad()


def cleared(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """Make a step of a textbook loop."""
    optimizer.zero_grad()
    plain(model, optimizer, x, y)


def halves(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """Make a step that adds up the gradients of a batch's rows."""
    for row, label in zip(x, y, strict=True):
        (cross_entropy(model(row[None]), label[None]) / len(x)).backward()
    optimizer.step()


def train(step: Step = plain, **options: Any) -> Subspace:
    """Train a net and return its subspace; the model is `materialize`'s."""
    space = Subspace(model := net(), d, **options)
    optimizer = torch.optim.Adam(space.trainable_parameters(), lr=0.05)
    with space.training(optimizer):
        for x, y in batches():
            step(model, optimizer, x, y)
    return space


def written(space: Subspace, model: nn.Module, start: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of a weight and theta_0 + lambda P theta through the projection itself."""
    weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for index, tensors in enumerate(space.groups.values()):
        for name in tensors:
            delta = space.projection.project(space.theta.detach(), name)
            delta = delta * space.lambdas[index].detach() if space.m else delta
            origin = start.get_parameter(name).detach()
            yield weights[name], origin + delta.view_as(origin)


@pytest.mark.parametrize("method", ["said", "did"])
@pytest.mark.parametrize("origin", ["copy", "none"])
def test_a_loop_writes_theta_0_and_lambda_p_theta(method: Any, origin: Any) -> None:
    space = train(method=method, origin=origin)
    assert space.theta.detach().abs().min() > 0
    for weight, expected in written(space, space.materialize(), net()):
        torch.testing.assert_close(weight, expected)


@pytest.mark.parametrize("step", [as_trainers_do, cleared, halves])
def test_loops_of_every_habit_train_the_same(step: Step) -> None:
    torch.testing.assert_close(train(step).theta, train().theta)


def test_clipping_acts_on_the_gradient_of_the_numbers() -> None:
    space = Subspace(model := net(), d)
    optimizer = torch.optim.SGD(space.trainable_parameters(), lr=1.0)
    ((x, y),) = batches(1)
    with space.training(optimizer):
        cross_entropy(model(x), y).backward()
        norm = nn.utils.clip_grad_norm_(space.trainable_parameters(), 1e-3)
        optimizer.step()
    assert norm > 1e-3
    torch.testing.assert_close(space.theta.norm(), torch.tensor(1e-3), rtol=1e-3, atol=0)


def test_weights_are_written_and_gradients_gone_after_each_step() -> None:
    space = Subspace(model := net(), d)
    optimizer = torch.optim.Adam(space.trainable_parameters(), lr=0.05)
    with space.training(optimizer):
        for x, y in batches():
            cross_entropy(model(x), y).backward()
            assert all(weight.grad is None for weight in model.parameters())
            assert all(number.grad is not None for number in space.trainable_parameters())
            before = model[0].weight.detach().clone()
            optimizer.step()
            assert not torch.equal(model[0].weight, before)
            assert all(number.grad is None for number in space.trainable_parameters())
            with torch.no_grad():
                assert torch.equal(model.eval()(x), model.train()(x))


@pytest.mark.parametrize("fail", [False, True])
def test_an_ordinary_model_is_left(fail: bool) -> None:
    space = Subspace(model := net(), d)
    optimizer = torch.optim.Adam(space.trainable_parameters(), lr=0.05)
    ((x, y),) = batches(1)

    def loop() -> None:
        with space.training(optimizer):
            plain(model, optimizer, x, y)
            cross_entropy(model(x), y).backward()
            if fail:
                raise KeyError("the disk is full")

    if fail:
        with pytest.raises(KeyError):
            loop()
    else:
        loop()
    cross_entropy(model(x), y).backward()
    assert all(weight.grad is not None for weight in model.parameters())
    assert all(number.grad is None for number in space.trainable_parameters())
    before = model[0].weight.detach().clone()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert not torch.equal(model[0].weight, before)


def test_training_goes_on_in_a_second_context_and_from_a_saved_state() -> None:
    whole, model = train(), net()
    rows = list(batches())
    first = Subspace(model, d)
    optimizer = torch.optim.Adam(first.trainable_parameters(), lr=0.05)
    for part in (rows[:1], rows[1:2]):
        with first.training(optimizer):
            for x, y in part:
                plain(model, optimizer, x, y)
    other = Subspace(again := net(), d)
    other.load_state_dict(first.state_dict())
    resumed = torch.optim.Adam(other.trainable_parameters(), lr=0.05)
    resumed.load_state_dict(optimizer.state_dict())
    assert torch.equal(other.materialize().get_parameter("0.weight"), model[0].weight)
    with other.training(resumed):
        for x, y in rows[2:]:
            plain(again, resumed, x, y)
    assert torch.equal(other.theta, whole.theta)


def test_a_head_outside_is_trained_by_the_same_loop(make_model: Any, batches: Any) -> None:
    model, usual = make_model(), make_model()
    space = Subspace(model, 50, head="outside")
    groups = space.parameter_groups(full_lr=0.1, step_ratio=2.0, lambda_lr=0.3)
    assert [group["lr"] for group in groups] == [space.lr(0.1, 2.0), 0.3, 0.1]
    optimizer = torch.optim.SGD(groups)
    assert sum(len(group["params"]) for group in groups) == len(space.trainable_parameters())
    with space.training(optimizer):
        model(**batches[0]).loss.backward()
        optimizer.step()
    usual(**batches[0]).loss.backward()
    for name, weight in space.head().items():
        start = usual.get_parameter(name)
        torch.testing.assert_close(weight, start - 0.1 * start.grad)
    assert space.theta.detach().any()


@pytest.mark.parametrize(
    ("method", "head", "alone"),
    [("said", "inside", False), ("did", "outside", False), ("did", "inside", True)],
)
def test_one_rate_for_theta_and_what_needs_its_own_is_warned_of(
    method: Any, head: Any, alone: bool, make_model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    space = Subspace(make_model(), 50, method=method, head=head)
    with space.training(torch.optim.Adam(space.parameter_groups(full_lr=0.1))):
        assert caplog.text == ""
    with space.training(torch.optim.Adam(space.trainable_parameters(), lr=space.lr(0.1))):
        assert ("space.parameter_groups" in caplog.text) != alone


def test_the_rate_is_the_rules_over_all_that_full_training_trains(make_model: Any) -> None:
    space = Subspace(model := make_model(), 50, head="outside")
    D = sum(weight.numel() for weight in model.parameters())
    assert space.lr(full_lr=1e-3, step_ratio=2.0) == pytest.approx(2e-3 * (D / 50) ** 0.5)


def test_a_model_moved_to_another_dtype_is_written_in_it() -> None:
    space = Subspace(model := net(), d)
    model.to(torch.bfloat16)
    optimizer = torch.optim.Adam(space.trainable_parameters(), lr=0.05)
    with space.training(optimizer):
        for x, y in batches():
            plain(model, optimizer, x.bfloat16(), y)
    assert space.theta.dtype == torch.float32
    for weight, expected in written(space, space.materialize(), net()):
        assert weight.dtype == torch.bfloat16
        torch.testing.assert_close(weight, expected.bfloat16())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_moved_to_a_gpu_is_followed() -> None:
    space = Subspace(model := net(), d)
    optimizer = torch.optim.Adam(space.trainable_parameters(), lr=0.05)
    model.cuda()
    with space.training(optimizer):
        for x, y in batches():
            plain(model, optimizer, x.cuda(), y.cuda())
    assert space.theta.is_cuda
    torch.testing.assert_close(space.theta.cpu(), train().theta, rtol=1e-3, atol=1e-4)


def test_a_compiled_model_trains_the_same() -> None:
    space = Subspace(model := net(), d)
    compiled: Any = torch.compile(model, backend="aot_eager")
    optimizer = torch.optim.Adam(space.trainable_parameters(), lr=0.05)
    with space.training(optimizer):
        for x, y in batches():
            plain(compiled, optimizer, x, y)
    torch.testing.assert_close(space.theta, train().theta)


class Readers(nn.Module):
    """An embedding of 4,000 numbers that is read in the named way besides."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        table = nn.EmbeddingBag if way == "bag" else nn.Embedding
        self.words = table(500, 8)
        self.way = way
        if way == "parametrized":
            nn.utils.parametrizations.weight_norm(self.words)
        self.other = nn.Linear(8, 500, bias=False)
        if way == "alias":
            self.other.weight = self.words.weight
        self.rows = [self.words.weight] if way == "kept" else []

    def forward(self, ids: Tensor) -> Tensor:
        """Return [batch, 500] logits of [batch, words] ids."""
        if self.way == "bag":
            return self.other(self.words(ids))
        if self.way == "by hand":
            h = nn.functional.embedding(ids, self.words.weight).mean(1)
        else:
            h = self.words(ids).mean(1)
        weight = self.rows[0] if self.rows else self.words.weight
        tied = self.way in ("linear", "by hand", "kept")
        return nn.functional.linear(h, weight) if tied else self.other(h)

    def get_input_embeddings(self) -> nn.Module:
        """Return the table, as a model of transformers does."""
        return self.words


@pytest.mark.parametrize("way", ["linear", "by hand", "kept", "alias", "bag", "parametrized"])
def test_whoever_reads_an_embedding_finds_it_written(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("said_lightning.subspace.lazy.LARGE", 1000)
    space = Subspace(model := Readers(way), 40)
    start = Readers(way)
    optimizer = torch.optim.SGD(space.trainable_parameters(), lr=1.0)
    with space.training(optimizer):
        for batch in torch.randint(500, (3, 4, 2), generator=torch.Generator().manual_seed(0)):
            cross_entropy(model(batch), batch[:, 0]).backward()
            optimizer.step()
            for weight, expected in written(space, model, start):
                torch.testing.assert_close(weight, expected)


def test_the_package_starts_without_torch_and_lists_what_it_has() -> None:
    program = "import sys, said_lightning as s; print('torch' in sys.modules, *dir(s))"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    torch_there, *names = process.stdout.split()
    assert (torch_there, process.stderr) == ("False", "")
    assert set(said_lightning.__all__) <= set(names)
    assert all(getattr(said_lightning, name) for name in said_lightning.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Supspace'"):
        said_lightning.Supspace  # noqa: B018
