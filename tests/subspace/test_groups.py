"""SAID's groups: the embeddings, each layer, the head, whatever the architecture calls them."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from said_lightning.subspace.groups import split_head
from said_lightning.subspace.subspace import Subspace, budget

ONE_STACK = ["embeddings", "layer.0", "layer.1", "head"]
TWO_STACKS = [f"{stack}.layer.{i}" for stack in ("encoder", "decoder") for i in range(2)]
GROUPS = {
    "bert": ONE_STACK,
    "roberta": ONE_STACK,
    "xlm-roberta": ONE_STACK,
    "distilbert": ONE_STACK,
    "albert": ["embeddings", "layer.0", "head"],  # its layers are one, shared
    "electra": ONE_STACK,
    "deberta": ONE_STACK,
    "deberta-v2": ONE_STACK,
    "xlnet": ONE_STACK,
    "bart": ["embeddings", *TWO_STACKS, "head"],
    "t5": ["embeddings", *TWO_STACKS, "head"],
}


@pytest.mark.parametrize("architecture", GROUPS)
def test_groups_are_embeddings_layers_and_head_in_order(make_model: Any, architecture: str) -> None:
    groups, _ = budget(make_model(architecture), "said", "layer", "inside")
    assert list(groups) == GROUPS[architecture]


@pytest.mark.parametrize("architecture", [*GROUPS, "tied"])
@pytest.mark.parametrize(
    ("method", "kind"), [("did", "layer"), ("said", "layer"), ("said", "tensor")]
)
def test_groups_hold_every_trainable_tensor_once(
    make_model: Any, architecture: str, method: str, kind: str
) -> None:
    model = make_model(architecture)
    next(model.parameters()).requires_grad_(False)
    groups, D = budget(model, method, kind, "inside")
    trainable = {name: w.numel() for name, w in model.named_parameters() if w.requires_grad}
    grouped = [name for tensors in groups.values() for name in tensors]
    assert sorted(grouped) == sorted(trainable)
    assert sum(trainable.values()) == D
    assert sum(Subspace(model, 100, 0, method=method, groups=kind).sizes().values()) == D


@pytest.mark.parametrize("architecture", GROUPS)
def test_the_head_holds_what_no_layer_and_no_embedding_is(
    make_model: Any, architecture: str
) -> None:
    model = make_model(architecture)
    groups, _ = budget(model, "said", "layer", "inside")
    assert set(split_head(model, "outside")[1]) <= set(groups["head"])
    tables = {
        f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Embedding)
    }
    assert not tables & set(groups["head"])


def test_a_layers_group_holds_that_layer_alone(make_model: Any) -> None:
    groups, _ = budget(make_model(), "said", "layer", "inside")
    for number in (0, 1):
        assert all(
            name.startswith(f"bert.encoder.layer.{number}.") for name in groups[f"layer.{number}"]
        )


def test_a_tensor_is_of_the_same_group_where_theta_moves_some_weights_alone(
    make_model: Any,
) -> None:
    model = make_model()
    whole, _ = budget(model, "said", "layer", "inside")
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in whole["head"])
    assert budget(model, "said", "layer", "inside")[0] == {"head": whole["head"]}


def test_a_group_per_tensor_bears_the_tensors_name(make_model: Any) -> None:
    groups, _ = budget(make_model(), "said", "tensor", "inside")
    assert groups == {name: [name] for name, _ in make_model().named_parameters()}


def test_did_has_one_group_and_no_lambda(make_model: Any) -> None:
    subspace = Subspace(make_model(), 20, 0, method="did")
    assert (list(subspace.groups), subspace.m, len(subspace.coordinates())) == (["all"], 0, 1)


def test_an_encoder_without_a_head_is_grouped_too() -> None:
    encoder = BertModel(BertConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=2))
    groups, _ = budget(encoder, "said", "layer", "inside")
    assert list(groups) == ONE_STACK
    assert groups["head"] == ["pooler.dense.weight", "pooler.dense.bias"]


def test_any_module_can_be_grouped() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 4)
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
            self.norms = nn.ModuleList(nn.LayerNorm(4) for _ in range(2))
            self.out = nn.Linear(4, 2)

    groups, D = budget(Plain(), "said", "layer", "inside")
    assert list(groups) == ONE_STACK
    assert groups["layer.1"] == [
        "layers.1.weight",
        "layers.1.bias",
        "norms.1.weight",
        "norms.1.bias",
    ]
    assert (groups["embeddings"], groups["head"]) == (["table.weight"], ["out.weight", "out.bias"])
    assert sum(weight.numel() for weight in Plain().parameters()) == D


def test_groups_and_sizes_are_known_without_weights(make_model: Any) -> None:
    with torch.device("meta"):
        skeleton = make_model("bart")
    assert budget(skeleton, "said", "layer", "inside") == budget(
        make_model("bart"), "said", "layer", "inside"
    )
