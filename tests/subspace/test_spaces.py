"""A subspace of LoRA factors, biases or the head trains d numbers there, and nothing else moves."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from said_lightning.artifact.coding import decode, encode
from said_lightning.certify.recompute import write
from said_lightning.config.schema import Config, MethodConfig, ProjectionConfig
from said_lightning.errors import UserError
from said_lightning.models.build import build_subspace, confine_for
from said_lightning.subspace.spaces import START, confine, merge_factors
from said_lightning.subspace.subspace import Subspace

SPACES = ("lora", "bias", "head")


def bert() -> PreTrainedModel:
    """Return a random BERT of two layers, width 16."""
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    )
    return BertForSequenceClassification(shape).eval()


def config(space: str, name: str = "said", **facts: Any) -> Config:
    """Make a run of 40 numbers in a space."""
    method = MethodConfig(name=name, space=space, r=2, **facts)
    return Config(method=method, projection=ProjectionConfig("partition"), d=40)


def trained(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that are trained."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def test_each_space_holds_the_head_and_its_own_weights() -> None:
    names = {}
    for space in SPACES:
        confine(model := bert(), space, r=2)
        names[space] = set(trained(model))
    head = names["head"]
    assert head == {
        *("bert.pooler.dense.weight", "bert.pooler.dense.bias"),
        *("classifier.weight", "classifier.bias"),
    }
    biases = {name for name, _ in bert().named_parameters() if name.endswith("bias")}
    assert names["bias"] == head | biases
    factors = names["lora"] - head
    assert len(factors) == 2 * 2 * 2  # A and B, of queries and values, in two layers
    assert all(".query.lora_" in name or ".value.lora_" in name for name in factors)


@pytest.mark.parametrize("space", ["all", *SPACES])
def test_a_step_in_a_space_trains_exactly_d_numbers_and_moves_its_weights_alone(space: str) -> None:
    model = bert()
    subspace = build_subspace(model, config(space))
    assert sum(numbers.numel() for numbers in subspace.numbers()) == subspace.d == 40
    assert sum(weight.numel() for weight in trained(model).values()) == subspace.D
    assert subspace.m == len(subspace.groups)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    step(model, subspace)
    moved = {n for n, w in model.named_parameters() if not torch.equal(w, before[n])}
    assert moved == set(trained(model))


def step(model: nn.Module, subspace: Subspace) -> None:
    """One step of AdamW through the subspace."""
    optimizer = torch.optim.AdamW(subspace.numbers(), lr=0.1)
    tokens = torch.arange(12).view(2, 6)
    with subspace.training(optimizer):
        model(input_ids=tokens, labels=torch.tensor([0, 1])).loss.backward()
        optimizer.step()


def test_lora_starts_where_both_factors_have_a_gradient() -> None:
    model = bert()
    subspace = build_subspace(model, config("lora"))
    assert 0 < subspace.theta.abs().max() <= START
    factors = {n: w for n, w in trained(model).items() if ".lora_" in n}
    assert all(weight.any() for weight in factors.values())
    tokens = torch.arange(12).view(2, 6)
    model(input_ids=tokens, labels=torch.tensor([0, 1])).loss.backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in factors.values())
    again = build_subspace(bert(), config("lora"))
    assert torch.equal(again.theta, subspace.theta)
    assert not build_subspace(bert(), config("bias")).theta.any()


@pytest.mark.parametrize("origin", ["copy", "none"])
def test_a_lora_run_is_rebuilt_from_its_config_and_its_numbers(origin: str) -> None:
    model = bert()
    subspace = build_subspace(model, config("lora", origin=origin))
    for _ in range(3):
        step(model, subspace)
    other = bert()
    rebuilt = build_subspace(other, config("lora"))
    rebuilt.load_state_dict(subspace.state_dict())
    rebuilt.write()
    tokens = torch.arange(12).view(2, 6)
    answer = other(input_ids=tokens).logits
    assert torch.allclose(answer, model(input_ids=tokens).logits, atol=1e-6)
    merge_factors(other)
    assert set(other.state_dict()) == set(bert().state_dict())
    assert torch.allclose(other(input_ids=tokens).logits, answer, atol=1e-6)
    assert not torch.allclose(bert()(input_ids=tokens).logits, answer, atol=1e-3)


def test_full_fine_tuning_trains_all_whatever_the_space() -> None:
    confine_for(model := bert(), config("lora", name="full").method)
    assert len(trained(model)) == len(list(bert().parameters()))


def test_a_model_without_such_weights_is_refused() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(2, 2, bias=False)

    with pytest.raises(UserError, match="space=bias: the model has no such weights"):
        confine(Bare(), "bias")
    with pytest.raises(UserError, match="space=lora: the model has no linear map named query"):
        confine(Bare(), "lora")


def test_lora_without_peft_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"pip install 'said_lightning\[lora\]'"):
        confine(bert(), "lora")


def test_the_extra_is_what_the_message_says() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '\nlora = ["peft' in project


@pytest.mark.parametrize("name", ["did", "said"])
@pytest.mark.parametrize("space", ["all", *SPACES])
def test_the_second_code_path_of_certificates_writes_the_same_weights(
    space: str, name: str
) -> None:
    run = config(space, name)
    codebook = torch.linspace(-0.5, 0.5, 5).numpy().astype("float16")
    coded = encode(torch.arange(40).numpy() % 5, codebook)
    expected, model = bert(), bert()
    subspace = build_subspace(expected, run)
    numbers = torch.from_numpy(decode(coded)).split([p.numel() for p in subspace.numbers()])
    with torch.no_grad():
        for part, values in zip(subspace.numbers(), numbers, strict=True):
            part.copy_(values)
    subspace.write()
    write(model, run, coded)
    weights = dict(model.named_parameters())
    for tensor, weight in expected.named_parameters():
        torch.testing.assert_close(weights[tensor], weight, atol=1e-6, rtol=0)
