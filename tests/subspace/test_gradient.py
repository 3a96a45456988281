"""The gradient that is pulled back is autograd's, through the same projection."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from said_lightning.projections import names
from said_lightning.subspace import gradients
from said_lightning.subspace.subspace import Subspace

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
METHODS = [("did", "layer"), ("said", "layer"), ("said", "tensor")]
D = 60  # more than the number of tensors


def randomise(subspace: Subspace) -> None:
    """Put theta and lambda at random values, and the weights where these say."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for numbers in subspace.numbers():
            numbers.add_(torch.randn(numbers.shape, generator=generator, dtype=numbers.dtype))
    subspace.write()


def loss_of(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Return a loss that reads every logit, for a classifier and for a language model."""
    logits = model(input_ids=batch["input_ids"]).logits
    loss: Tensor = logits.log_softmax(-1)[..., 0].mean() + logits.square().mean()
    return loss


def pulled_back(
    model: nn.Module, subspace: Subspace, batches: Sequence[dict[str, Tensor]]
) -> list[Tensor]:
    """Return the gradients that the hooks leave after a backward pass for each batch."""
    subspace.attach()
    for batch in batches:
        loss_of(model, batch).backward()
    return [numbers.grad for numbers in subspace.numbers() if numbers.grad is not None]


def by_autograd(
    model: nn.Module,
    start: dict[str, Tensor],
    subspace: Subspace,
    batches: Sequence[dict[str, Tensor]],
) -> tuple[Tensor, ...]:
    """Return the gradients in theta (and lambda), through the projection's reference."""
    numbers = [number.detach().clone().requires_grad_() for number in subspace.numbers()]
    weights = {}
    for index, tensors in enumerate(subspace.groups.values()):
        scale = numbers[1][index] if subspace.m else 1.0
        for name in tensors:
            size = start[name].numel()
            delta = subspace.projection.forward_rows(numbers[0], name, 0, size)
            weights[name] = start[name] + scale * delta.view_as(start[name])
    loss = torch.stack([functional_loss(model, weights, batch) for batch in batches]).sum()
    return torch.autograd.grad(loss, numbers)


def functional_loss(model: nn.Module, weights: dict[str, Tensor], batch: Any) -> Tensor:
    """Return the loss of the model with other weights, tied ones included."""

    class Bound(nn.Module):
        def forward(self, input_ids: Tensor) -> Any:
            return functional_call(model, weights, kwargs={"input_ids": input_ids})

    return loss_of(Bound(), batch)


def assert_right(
    model: nn.Module, batches: Sequence[dict[str, Tensor]], dtype: torch.dtype, **options: Any
) -> None:
    """Compare both gradients of both kinds of numbers, relative to their norms."""
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    subspace = Subspace(model, D, seed=3, **options).to(dtype)
    randomise(subspace)
    ours = pulled_back(model, subspace, batches)
    truth = by_autograd(model, start, subspace, batches)
    assert len(ours) == len(truth) == (2 if subspace.m else 1)
    for mine, right in zip(ours, truth, strict=True):
        assert right.norm() > 0
        assert (mine - right).norm() <= TOLERANCE[dtype] * right.norm()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("method", "groups"), METHODS)
@pytest.mark.parametrize("projection", names())
def test_the_gradient_is_autograds(
    make_model: Any, batches: Any, dtype: torch.dtype, method: Any, groups: Any, projection: str
) -> None:
    options = {"method": method, "groups": groups, "projection": projection}
    assert_right(make_model(dtype=dtype), batches[:1], dtype, **options)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("method", "groups"), METHODS)
def test_gradients_add_up_over_batches(
    make_model: Any, batches: Any, dtype: torch.dtype, method: Any, groups: Any
) -> None:
    assert_right(make_model(dtype=dtype), batches, dtype, method=method, groups=groups)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("method", "groups"), METHODS)
def test_a_tied_weight_gets_the_gradient_of_both_its_uses(
    make_model: Any, batches: Any, dtype: torch.dtype, method: Any, groups: Any
) -> None:
    assert_right(make_model("tied", dtype), batches[:1], dtype, method=method, groups=groups)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("head", ["inside", "outside"])
def test_frozen_weights_and_a_head_outside_leave_the_rest_right(
    make_model: Any, batches: Any, dtype: torch.dtype, head: str
) -> None:
    model = make_model(dtype=dtype)
    model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    model.bert.encoder.layer[0].requires_grad_(False)
    assert_right(model, batches[:2], dtype, head=head)
    assert model.bert.embeddings.word_embeddings.weight.grad is None
    assert (model.classifier.weight.grad is None) == (head == "inside")


def test_a_head_outside_keeps_its_ordinary_gradient(make_model: Any, batches: Any) -> None:
    model, plain = make_model(), make_model()
    pulled_back(model, Subspace(model, D, seed=3, head="outside"), batches)
    for batch in batches:
        loss_of(plain, batch).backward()
    assert torch.equal(model.classifier.weight.grad, plain.classifier.weight.grad)
    assert torch.equal(model.classifier.bias.grad, plain.classifier.bias.grad)


@pytest.mark.parametrize("architecture", ["albert", "bart", "deberta-v2", "t5", "xlnet"])
def test_the_gradient_is_right_whatever_the_architecture(
    make_model: Any, batches: Any, architecture: str
) -> None:
    model = make_model(architecture, torch.float64)
    assert_right(model, batches[:1], torch.float64)


def test_gradients_are_pulled_back_a_few_together_and_freed(
    make_model: Any, batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    subspace = Subspace(model, D, seed=0)
    kept: list[int] = []
    taken: list[dict[str, int]] = []
    pull_back_all = subspace.projection.pull_back_all

    def watched(grads: dict[str, Tensor], *others: Any) -> None:
        kept.append(sum(weight.grad is not None for weight in model.parameters()))
        taken.append({name: grad.numel() for name, grad in grads.items()})
        pull_back_all(grads, *others)

    monkeypatch.setattr(subspace.projection, "pull_back_all", watched)
    monkeypatch.setattr(gradients, "WAITING", waiting := 1000)
    monkeypatch.setattr(gradients, "SMALL", 0)
    pulled_back(model, subspace, batches[:2])
    assert not any(kept)
    assert sorted(name for part in taken for name in part) == sorted(
        2 * [name for name, _ in model.named_parameters()]
    )
    assert max(len(part) for part in taken) > 1
    # Without its last, which filled it up, a bundle is below the limit.
    assert all(sum(part.values()) - list(part.values())[-1] < waiting for part in taken)
    assert not subspace._gradients._waiting


@pytest.mark.parametrize("waiting", [1, 1000])
def test_sums_that_have_no_room_for_all_groups_change_nothing(
    make_model: Any, batches: Any, monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    monkeypatch.setattr(gradients, "SUMS", 3 * D)
    monkeypatch.setattr(gradients, "WAITING", waiting)
    monkeypatch.setattr(gradients, "SMALL", 0)
    model = make_model(dtype=torch.float64)
    assert_right(model, batches[:2], torch.float64, groups="tensor")


def test_a_backward_pass_that_fails_keeps_no_later_one_from_ending(
    make_model: Any, batches: Any
) -> None:
    def fail(_: object) -> None:
        raise MemoryError

    model = make_model(dtype=torch.float64).eval()
    subspace = Subspace(model, D, seed=3).to(torch.float64)
    subspace.attach()
    words = model.bert.embeddings.word_embeddings
    handle = words.weight.register_hook(fail)
    with pytest.raises(MemoryError):
        loss_of(model, batches[0]).backward()
    handle.remove()
    assert subspace.theta.grad is None
    subspace.detach()
    subspace.attach()
    loss_of(model, batches[1]).backward()
    model.zero_grad()
    failed = [number.grad for number in subspace.numbers() if number.grad is not None]
    subspace.detach()
    subspace.theta.grad = subspace.lambdas.grad = None
    for one, other in zip(failed, pulled_back(model, subspace, batches[1:2]), strict=True):
        assert torch.equal(one, other)


def test_reentrant_checkpointing_changes_nothing(make_model: Any, batches: Any) -> None:
    model, plain = make_model(dtype=torch.float64), make_model(dtype=torch.float64)
    model.bert.gradient_checkpointing_enable({"use_reentrant": True})
    model.enable_input_require_grads()
    model.train()
    plain.train()
    grads = []
    for one in (model, plain):
        for module in one.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        subspace = Subspace(one, D, seed=3).to(torch.float64)
        randomise(subspace)
        grads.append(pulled_back(one, subspace, batches[:2]))
    for mine, right in zip(*grads, strict=True):
        assert (mine - right).norm() <= 1e-10 * right.norm()
