"""What is written into the weights: nothing at the start, all of D after a step, exactly."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from said_lightning.projections import names
from said_lightning.subspace.subspace import Subspace

METHODS = [("did", "layer"), ("said", "layer"), ("said", "tensor")]
D = 60


def state(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of every weight and buffer, those that no checkpoint holds included."""
    return {
        name: tensor.detach().clone()
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    """Return the names of the tensors that differ in any bit."""
    return {name for name, tensor in state(model).items() if not torch.equal(tensor, before[name])}


def step(model: Any, subspace: Subspace, batch: dict[str, Tensor], rate: float = 0.01) -> None:
    """Train by one step of Adam, as the callback does."""
    optimizer = torch.optim.Adam(subspace.trainable_parameters(), lr=rate)
    with subspace.training(optimizer):
        model(**batch).loss.backward()
        optimizer.step()


@pytest.mark.parametrize("origin", ["copy", "none"])
@pytest.mark.parametrize(("method", "groups"), METHODS)
@pytest.mark.parametrize("projection", names())
def test_theta_0_gives_the_base_models_logits_to_the_bit(
    make_model: Any, batches: Any, projection: str, method: Any, groups: Any, origin: Any
) -> None:
    model = make_model()
    logits = model(**batches[0]).logits
    subspace = Subspace(
        model, D, seed=0, projection=projection, method=method, groups=groups, origin=origin
    )
    assert torch.equal(model(**batches[0]).logits, logits)
    subspace.write()
    assert torch.equal(model(**batches[0]).logits, logits)


@pytest.mark.parametrize(("method", "groups"), METHODS)
@pytest.mark.parametrize("projection", names())
def test_a_step_changes_every_counted_tensor_and_nothing_else(
    make_model: Any, batches: Any, projection: str, method: Any, groups: Any
) -> None:
    model = make_model()
    before = state(model)
    assert set(before) > {name for name, _ in model.named_parameters()}  # buffers are looked at
    frozen = {"bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.output.dense.bias"}
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    subspace = Subspace(model, D, seed=0, projection=projection, method=method, groups=groups)
    step(model, subspace, batches[0])
    counted = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert changed(before, model) == counted == set(before) - frozen - buffers(model)
    assert sum(before[name].numel() for name in counted) == subspace.D


def buffers(model: nn.Module) -> set[str]:
    """Return the names of what is no weight: position ids and the like."""
    return {name for name, _ in model.named_buffers()}


def test_tied_weights_stay_tied(make_model: Any, batches: Any) -> None:
    model = make_model("tied")
    step(model, Subspace(model, D, seed=0), batches[0] | {"labels": batches[0]["input_ids"]})
    decoder, words = model.cls.predictions.decoder.weight, model.bert.embeddings.word_embeddings
    assert decoder is words.weight


def test_a_head_outside_is_not_written(make_model: Any, batches: Any) -> None:
    model = make_model()
    before = state(model)
    subspace = Subspace(model, D, head="outside")
    assert set(subspace.head()) == {"classifier.weight", "classifier.bias"}
    subspace.attach()
    model(**batches[0]).loss.backward()
    torch.optim.Adam(subspace.numbers()).step()
    subspace.write()
    assert changed(before, model) == set(before) - set(subspace.head()) - buffers(model)


@pytest.mark.parametrize("method", ["did", "said"])
def test_without_a_copy_of_theta_0_the_weights_drift_by_rounding_alone(
    make_model: Any, batches: Any, method: Any
) -> None:
    exact, drifting = make_model(), make_model()
    copy = Subspace(exact, D, seed=0, method=method, origin="copy")
    none = Subspace(drifting, D, seed=0, method=method, origin="none")
    optimizer = torch.optim.Adam(copy.numbers(), lr=0.01)
    copy.attach()
    for number in range(20):
        exact(**batches[number % 3]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        none.load_state_dict(copy.state_dict())
        copy.write()
        none.write()
    for mine, right in zip(drifting.parameters(), exact.parameters(), strict=True):
        # A write rounds its sum and its step, each by at most half a unit of the largest number.
        bound = 20 * torch.finfo(torch.float32).eps * right.abs().max().item()
        torch.testing.assert_close(mine, right, rtol=0, atol=bound)


@pytest.mark.parametrize("method", ["did", "said"])
def test_writes_from_a_copy_are_exact(make_model: Any, batches: Any, method: Any) -> None:
    model = make_model()
    base = state(model)
    subspace = Subspace(model, D, seed=0, method=method)
    step(model, subspace, batches[0])
    written = state(model)
    assert changed(base, model)
    subspace.write()
    assert changed(written, model) == set()
    with torch.no_grad():
        subspace.theta.zero_()
    subspace.write()
    assert changed(base, model) == set()


def test_lambda_scales_its_own_group_alone(make_model: Any) -> None:
    model = make_model()
    base = state(model)
    subspace = Subspace(model, D, seed=0)
    with torch.no_grad():
        subspace.theta.normal_()
        subspace.lambdas.copy_(torch.tensor([1.0, 0.0, 1.0, 0.0]))
    subspace.write()
    moved = {*subspace.groups["embeddings"], *subspace.groups["layer.1"]}
    assert changed(base, model) == moved


def test_a_subspace_that_is_moved_takes_theta_0_along(make_model: Any, batches: Any) -> None:
    model = make_model()
    subspace = Subspace(model, D, seed=0).to(torch.float64)
    model.to(torch.float64)
    writer = subspace._writer
    tensors = [*(writer.origin or {}).values(), *subspace.numbers(), *writer.written]
    assert {tensor.dtype for tensor in tensors} == {torch.float64}
    base = state(model)
    step(model, subspace, batches[0])
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float64}
    with torch.no_grad():
        subspace.theta.zero_()
    subspace.write()
    assert changed(base, model) == set()
