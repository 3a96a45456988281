"""Layers that pull back their weights' gradients without forming them, frozen or written."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from said_lightning.subspace.options import Origin
from said_lightning.subspace.subspace import Subspace
from tests.subspace.test_gradient import TOLERANCE, by_autograd, loss_of, pulled_back, randomise

D = 70
NO_DROPOUT: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertForSequenceClassification(
        BertConfig(
            vocab_size=40,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=16,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    ),
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=40,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=24,
            max_position_embeddings=16,
        )
    ),
    # Conv1D, and a head tied to the word embeddings.
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=16, **NO_DROPOUT)
    ),
}
every_model = pytest.mark.parametrize("name", MODELS)
every_origin = pytest.mark.parametrize("origin", ["copy", "none"])


def make(name: str, dtype: torch.dtype = torch.float64) -> PreTrainedModel:
    torch.manual_seed(0)
    model: Any = MODELS[name]()
    made: PreTrainedModel = model.to(dtype).train()
    return made


def subspace(model: nn.Module, dtype: torch.dtype = torch.float64, **options: Any) -> Subspace:
    return Subspace(model, D, projection="kronecker", seed=3, **options).to(dtype)


def batches(count: int = 2) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    # With 0, BERT's padding, whose row gets no gradient.
    return [{"input_ids": torch.randint(0, 40, (3, 7), generator=generator)} for _ in range(count)]


def near(one: Tensor, other: Tensor, dtype: torch.dtype) -> bool:
    return bool((one - other).norm() <= TOLERANCE[dtype] * other.norm()) and other.norm() > 0


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("method", ["said", "did"])
@pytest.mark.parametrize("reentrant", [None, False, True])
@every_origin
@every_model
def test_the_gradient_is_autograds_with_accumulation_and_checkpointing(
    name: str, origin: Origin, reentrant: bool | None, method: Any, dtype: torch.dtype
) -> None:
    model, plain = make(name, dtype), make(name, dtype)
    if reentrant is not None:
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        model.enable_input_require_grads()
    start = {key: weight.detach().clone() for key, weight in model.named_parameters()}
    space = subspace(model, dtype, origin=origin, method=method)
    randomise(space)
    ours = pulled_back(model, space, batches())
    truth = by_autograd(plain, start, space, batches())
    assert len(ours) == len(truth)
    for mine, right in zip(ours, truth, strict=True):
        assert near(mine, right, dtype)


@every_model
def test_no_matrix_gets_a_gradient(name: str) -> None:
    model = make(name)
    space = subspace(model)
    seen: set[str] = set()
    for key, weight in model.named_parameters():
        weight.register_hook(lambda _, key=key: seen.add(key))
    pulled_back(model, space, batches())
    assert seen
    # Of the biases those of square layers of GPT-2 alone, which P takes for rows.
    matrices = space.projection.matrices.keys()  # type: ignore[attr-defined]
    assert all("attn.c_proj.bias" in key for key in seen & matrices)
    assert len(matrices) > 8


@every_origin
@every_model
def test_a_trained_model_left_ordinary_gives_the_logits_it_trained_with(
    name: str, origin: Origin
) -> None:
    model = make(name)
    space = subspace(model, origin=origin)
    optimizer = torch.optim.Adam(space.trainable_parameters(), lr=0.1)
    with space.training(optimizer):
        for batch in batches(3):
            loss_of(model, batch).backward()
            optimizer.step()
        logits = model(**batch).logits
        with torch.no_grad():
            torch.testing.assert_close(model(**batch).logits, logits, rtol=1e-12, atol=1e-12)
        state = model.state_dict()
    assert not any("forward" in vars(module) for module in model.modules())
    torch.testing.assert_close(model(**batch).logits, logits, rtol=1e-10, atol=1e-10)
    other = make(name)
    other.load_state_dict(state)
    torch.testing.assert_close(other(**batch).logits, logits, rtol=1e-10, atol=1e-10)


@every_model
def test_without_a_copy_matrices_stay_as_they_are_while_the_subspace_is_trained(name: str) -> None:
    model = make(name, torch.float32)
    start = {key: weight.detach().clone() for key, weight in model.named_parameters()}
    space = subspace(model, torch.float32, origin="none")
    optimizer = torch.optim.Adam(space.trainable_parameters(), lr=0.1)
    assert space.exact
    for _ in range(2):
        with space.training(optimizer):
            loss_of(model, batches(1)[0]).backward()
            optimizer.step()
            matrices = space.projection.matrices.keys()  # type: ignore[attr-defined]
            standing = [key for key in matrices if not key.endswith("bias")]
            for key in standing:
                # The second time they have been written and taken back, which rounds.
                torch.testing.assert_close(model.get_parameter(key), start[key])
        assert all((model.get_parameter(key) - start[key]).abs().max() > 1e-3 for key in standing)


def test_a_weight_that_something_else_reads_too_has_the_whole_gradient() -> None:
    class Odd(nn.Module):
        """A weight is used by its layer and without it; another layer has a class of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(8, 8), Scaled(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.other(self.one(x)) + functional.linear(x, self.one.weight).square()

    class Scaled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    torch.manual_seed(0)
    model, plain, x = Odd().double(), Odd().double(), torch.randn(5, 8, dtype=torch.float64)
    plain.load_state_dict(model.state_dict())
    space = Subspace(model, 30, method="did", projection="kronecker").to(torch.float64)
    space.attach()
    model(x).square().mean().backward()
    space.detach()
    plain(x).square().mean().backward()
    expected = sum(
        space.projection.pull_back(weight.grad.view(-1), key)
        for key, weight in plain.named_parameters()
        if weight.grad is not None
    )
    assert space.theta.grad is not None
    torch.testing.assert_close(space.theta.grad, expected, rtol=1e-12, atol=1e-12)


def test_a_layer_may_be_given_its_input_by_name() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.one(input=x)
            return out

    torch.manual_seed(0)
    model, x = Named(), torch.ones(2, 8)
    space = Subspace(model, 30, method="did", projection="kronecker")
    space.attach()
    model(x).square().mean().backward()
    assert space.theta.grad is not None
    assert space.theta.grad.any()


def test_an_encoder_layer_of_torch_evaluates_as_it_was_trained() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0), 2
    ).double()
    x, space = torch.randn(3, 5, 16, dtype=torch.float64), subspace(model, origin="none")
    optimizer = torch.optim.Adam(space.trainable_parameters(), lr=0.1)
    with space.training(optimizer):
        model(x).square().mean().backward()
        optimizer.step()
        trained = model(x)
        with torch.no_grad():
            torch.testing.assert_close(model.eval()(x), trained, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model(x), trained, rtol=1e-10, atol=1e-10)


@every_origin
def test_mixed_precision_gives_the_gradient_but_for_its_rounding(origin: Origin) -> None:
    grads = []
    for enabled in (False, True):
        model = make("bert", torch.float32)
        space = subspace(model, torch.float32, origin=origin)
        randomise(space)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            grads.append(pulled_back(model, space, batches())[0])
    assert (grads[1] - grads[0]).norm() < 0.05 * grads[0].norm()


@pytest.mark.parametrize("options", [{"keep": False}, {"basis": "svd"}], ids=str)
def test_options_of_the_projection_keep_the_gradient_right(options: dict[str, Any]) -> None:
    model, plain = make("bert"), make("bert")
    start = {key: weight.detach().clone() for key, weight in model.named_parameters()}
    space = subspace(model, **options)
    randomise(space)
    ours = pulled_back(model, space, batches())
    for mine, right in zip(ours, by_autograd(plain, start, space, batches()), strict=True):
        assert near(mine, right, torch.float64)
