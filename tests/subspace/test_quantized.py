"""Weights in 4 or 8 bits stand, and theta moves what leaves their layers."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from said_lightning.errors import UserError
from said_lightning.models.quantize import quantize, to_quantize
from said_lightning.subspace.quantized import is_quantized, shape_of
from said_lightning.subspace.subspace import Subspace
from tests.subspace.test_gradient import by_autograd, loss_of, pulled_back, randomise
from tests.subspace.test_matrices import D, batches, make, near

bits = pytest.importorskip("bitsandbytes")
every_kind = pytest.mark.parametrize("kind", ["nf4", "int8"])
FLOAT = torch.float32


def packed(name: str, kind: str) -> Any:
    model = make(name, FLOAT)
    quantize(model, kind)
    return model


def inside(model: nn.Module, **options: Any) -> Subspace:
    return Subspace(model, D, projection="kronecker", seed=3, quantized="inside", **options)


def opened(model: nn.Module) -> dict[str, Tensor]:
    """Return all weights as numbers that are ordinary, those of 4 bits as they stand."""
    return {
        name: bits.functional.dequantize_4bit(weight.data, getattr(weight, "quant_state", None))
        if is_quantized(weight)
        else weight.detach().clone()
        for name, weight in model.named_parameters()
    }


@pytest.mark.parametrize("origin", ["copy", "none"])
@pytest.mark.parametrize("method", ["said", "did"])
@pytest.mark.parametrize("name", ["bert", "llama"])
def test_the_gradient_is_that_of_all_weights_moved(name: str, method: Any, origin: Any) -> None:
    model, plain = packed(name, "nf4"), make(name, FLOAT)
    start = opened(model)
    space = inside(model, method=method, origin=origin)
    assert sum(weight.numel() for weight in plain.parameters()) == space.D
    randomise(space)
    ours = pulled_back(model, space, batches())
    truth = by_autograd(plain, start, space, batches())
    assert len(ours) == len(truth)
    for mine, right in zip(ours, truth, strict=True):
        assert near(mine, right, FLOAT)


@every_kind
def test_evaluating_in_between_changes_no_gradient(kind: str) -> None:
    # On some CPUs bitsandbytes lays weights out anew then, in a way that no gradient passes.
    model = packed("bert", kind)
    space = inside(model)
    randomise(space)
    before = pulled_back(model, space, batches())
    space.detach()
    model.eval()
    with torch.no_grad():
        model(**batches()[0])
    model.train()
    for number in space.numbers():
        number.grad = None
    for mine, right in zip(pulled_back(model, space, batches()), before, strict=True):
        assert torch.equal(mine, right)


@every_kind
def test_a_trained_model_goes_on_giving_what_it_gave_and_its_weights_stay(kind: str) -> None:
    model = packed("llama", kind)
    before = {n: w.detach().clone() for n, w in model.named_parameters() if is_quantized(w)}
    untrained = model.eval()(**batches()[0]).logits
    space = inside(model)
    torch.testing.assert_close(model(**batches()[0]).logits, untrained)  # theta is 0
    optimizer = torch.optim.Adam(space.trainable_parameters(), lr=0.1)
    with space.training(optimizer):
        for batch in batches(3):
            loss_of(model, batch).backward()
            optimizer.step()
        logits = model(**batches()[0]).logits
    assert (logits - untrained).norm() > 0.01 * untrained.norm()
    torch.testing.assert_close(space.materialize()(**batches()[0]).logits, logits)
    for name, weight in model.named_parameters():
        if name in before:
            assert torch.equal(weight, before[name])
    with torch.no_grad():
        space.theta.zero_()
        space.lambdas.fill_(1)
    torch.testing.assert_close(space.materialize()(**batches()[0]).logits, untrained)


@every_kind
def test_theta_alone_carries_what_was_learned(kind: str) -> None:
    model, other = packed("bert", kind), packed("bert", kind)
    space, there = inside(model), inside(other)
    randomise(space)
    there.load_state_dict(space.state_dict())
    there.write()
    space.write()
    ours, theirs = (one.eval()(**batches()[0]).logits for one in (model, other))
    assert torch.equal(ours, theirs)
    assert (ours - packed("bert", kind).eval()(**batches()[0]).logits).norm() > 0


@every_kind
def test_biases_keep_their_dtype_under_autocast(kind: str) -> None:
    model = packed("bert", kind)
    inside(model)
    with torch.autocast("cpu", torch.bfloat16):
        model(**batches()[0])
    assert {w.dtype for n, w in model.named_parameters() if n.endswith("bias")} == {FLOAT}


def test_a_copy_of_a_model_with_theta_stands_for_itself() -> None:
    model = packed("bert", "nf4").eval()
    space = inside(model)
    randomise(space)
    space.write()
    twin = copy.deepcopy(model)
    before = model(**batches()[0]).logits
    with torch.no_grad():
        space.theta.zero_()
    space.write()
    assert torch.equal(twin(**batches()[0]).logits, before)
    assert not torch.equal(model(**batches()[0]).logits, before)


def test_weights_of_torchao_are_moved_too() -> None:
    quantization = pytest.importorskip("torchao.quantization")
    torch.manual_seed(0)
    layer, x = nn.Linear(32, 16), torch.randn(5, 32)
    model = nn.Sequential(layer, nn.Linear(16, 3))
    quantization.quantize_(
        model, quantization.Int8WeightOnlyConfig(), filter_fn=lambda part, _: part is layer
    )
    space = inside(model)
    assert is_quantized(layer.weight)
    assert space.D == 32 * 16 + 16 + 16 * 3 + 3
    randomise(space)
    before = model[0](x)
    space.write()
    index = list(space.groups).index("0")
    theta = (space.lambdas[index] * space.theta).detach()
    moved = space.projection.project(theta, "0.weight").view(16, 32)
    start = nn.functional.linear(x, layer.weight.dequantize(), layer.bias)
    torch.testing.assert_close(model[0](x), start + x @ moved.T, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(before, start + x @ moved.T, rtol=1e-4, atol=1e-4)


@every_kind
def test_a_shape_is_that_of_the_weight_however_it_is_packed(kind: str) -> None:
    plain, model = make("llama", FLOAT), packed("llama", kind)
    shapes = {name: tuple(weight.shape) for name, weight in plain.named_parameters()}
    assert {name: shape_of(weight) for name, weight in model.named_parameters()} == shapes


def test_the_head_and_weights_that_are_shared_stay_as_they_are() -> None:
    assert {name.rpartition(".")[2] for name in to_quantize(make("bert"))} == {
        *("query", "key", "value", "dense"),
    }
    assert not any("pooler" in name or "classifier" in name for name in to_quantize(make("bert")))
    assert to_quantize(make("gpt2")) == {}


@pytest.mark.parametrize("options", [{"projection": "fastfood"}, {"basis": "svd"}])
def test_what_would_have_to_write_them_is_refused(options: dict[str, Any]) -> None:
    options = {"projection": "kronecker", **options}
    with pytest.raises(UserError, match="quantized='inside': expected projection='kronecker'"):
        Subspace(packed("bert", "nf4"), D, quantized="inside", **options)


def test_more_numbers_than_a_weight_has_are_refused() -> None:
    with pytest.raises(UserError, match=r"quantized weights cannot be written; .* more weights"):
        Subspace(packed("bert", "nf4"), 300, projection="kronecker", quantized="inside")


def test_they_are_left_alone_unless_asked_for() -> None:
    model = packed("bert", "nf4")
    space = Subspace(model, D)
    assert sum(w.numel() for w in model.parameters() if w.requires_grad) == space.D
    assert not any("forward" in vars(module) for module in model.modules())
