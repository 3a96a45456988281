"""SAID's groups: the embeddings, each layer, the head, whatever the architecture calls them."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
)

from said_lightning.errors import UserError
from said_lightning.subspace.groups import budget, split_head
from said_lightning.subspace.subspace import Subspace

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
    make_model: Any, architecture: str, method: Any, kind: Any
) -> None:
    model = make_model(architecture)
    next(model.parameters()).requires_grad_(False)
    groups, D = budget(model, method, kind, "inside")
    trainable = {name: w.numel() for name, w in model.named_parameters() if w.requires_grad}
    grouped = [name for tensors in groups.values() for name in tensors]
    assert sorted(grouped) == sorted(trainable)
    assert sum(trainable.values()) == D
    assert sum(Subspace(model, 100, method=method, groups=kind).sizes().values()) == D


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
    subspace = Subspace(make_model(), 20, method="did")
    assert (list(subspace.groups), subspace.m, len(subspace.numbers())) == (["all"], 0, 1)


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


def children(**parts: nn.Module) -> nn.Module:
    """Return a module with these children."""
    made = nn.Module()
    for name, part in parts.items():
        made.add_module(name, part)
    return made


def block() -> nn.Module:
    """Return a residual block with a shortcut of its own, as in ResNet."""
    shortcut = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    return children(conv=nn.Conv2d(2, 2, 3), norm=nn.BatchNorm2d(2), shortcut=shortcut)


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


PLAIN = {
    "sequential": (mlp(), ["0", "2"]),
    "attributes": (
        children(conv=nn.Conv1d(1, 2, 3), act=nn.ReLU(), fc=nn.Linear(4, 2)),
        ["conv", "fc"],
    ),
    "wrapped": (children(net=mlp(), loss=nn.MSELoss()), ["net.0", "net.2"]),
    "features and classifier": (
        children(features=mlp(), classifier=mlp()),
        ["features.0", "features.2", "classifier.0", "classifier.2"],
    ),
    "blocks of blocks": (nn.Sequential(mlp(), mlp(), nn.Linear(2, 2)), ["0", "1", "2"]),
    "resnet": (
        children(
            conv1=nn.Conv2d(1, 2, 3),
            bn1=nn.BatchNorm2d(2),
            layer1=nn.Sequential(block(), block()),
            layer2=nn.Sequential(block(), block()),
            fc=nn.Linear(2, 2),
        ),
        ["conv1", "bn1", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "fc"],
    ),
    "recurrent": (
        children(words=nn.Embedding(9, 4), lstm=nn.LSTM(4, 4), out=nn.Linear(4, 2)),
        ["words", "lstm", "out"],
    ),
    "a list inside a layer": (
        nn.Sequential(children(branches=nn.ModuleList([mlp(), mlp()])), nn.Linear(2, 2)),
        ["0", "1"],
    ),
    "one layer": (nn.Linear(4, 2), ["model"]),
}


@pytest.mark.parametrize("case", PLAIN)
def test_a_plain_modules_layers_are_its_parts(case: str) -> None:
    model, expected = PLAIN[case]
    groups, _ = budget(model, "said", "layer", "inside")
    assert list(groups) == expected
    for name, tensors in groups.items():
        if name != "model":
            assert all(tensor.startswith(f"{name}.") for tensor in tensors)
    every = [tensor for tensors in groups.values() for tensor in tensors]
    assert every == [name for name, _ in model.named_parameters()]


def test_a_modules_own_tensors_are_a_group_beside_its_parts() -> None:
    model = children(conv=nn.Conv1d(1, 2, 3), fc=nn.Linear(4, 2))
    model.register_parameter("positions", nn.Parameter(torch.zeros(3)))
    groups, _ = budget(model, "said", "layer", "inside")
    assert {name: len(tensors) for name, tensors in groups.items()} == {
        **{"model": 1, "conv": 2, "fc": 2}
    }


SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 40}
DECODERS = {
    "gpt2": ({"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 40}, "transformer.ln_f."),
    "llama": ({**SMALL, "intermediate_size": 32}, "model.norm."),
    "opt": (
        {**SMALL, "ffn_dim": 32, "word_embed_proj_dim": 16},
        "model.decoder.final_layer_norm.",
    ),
    "gpt_neox": ({**SMALL, "intermediate_size": 32}, "gpt_neox.final_layer_norm."),
    "bloom": ({"hidden_size": 16, "n_layer": 2, "n_head": 2}, "transformer.ln_f."),
}


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("task", [AutoModelForCausalLM, AutoModelForSequenceClassification])
def test_a_language_models_last_norm_is_of_the_head(kind: Any, task: Any) -> None:
    shape, norm = DECODERS[kind]
    with torch.device("meta"):
        model = task.from_config(AutoConfig.for_model(kind, **shape))
    groups, _ = budget(model, "said", "layer", "inside")
    assert list(groups) == ONE_STACK
    norms = {name for name, _ in model.named_parameters() if name.startswith(norm)}
    assert norms
    assert norms <= set(groups["head"])


def test_the_callers_groups_hold_tensors_and_modules_in_the_models_order() -> None:
    model = mlp()
    groups = {"last": ["2"], "rest": ["0.bias", "0.weight"]}
    space = Subspace(model, 20, groups=groups)
    assert space.groups == {"last": ["2.weight", "2.bias"], "rest": ["0.weight", "0.bias"]}
    assert (space.m, list(space.sizes())) == (2, ["last", "rest"])


def test_the_callers_groups_name_a_tied_tensor_by_either_name() -> None:
    model = children(words=nn.Embedding(4, 4), out=nn.Linear(4, 4, bias=False))
    model.get_submodule("out").weight = model.get_submodule("words").weight
    assert Subspace(model, 10, groups={"all": ["out"]}).groups == {"all": ["words.weight"]}


def test_the_callers_mistaken_groups_are_refused_all_at_once() -> None:
    groups = {"a": ["0.weight", "2"], "b": ["2.bias", "0.wait"], "c": "0", "d": []}
    with pytest.raises(UserError) as caught:
        budget(mlp(), "said", groups, "inside")
    assert caught.value.messages == (
        "groups['b']: no trainable tensor or module '0.wait'; did you mean '0.weight'?",
        "groups['c']='0': expected a list of tensors or modules",
        "groups['d']=[]: expected a list of tensors or modules",
        "groups: 2.bias is in 'a' and 'b'; expected one group",
        "groups: in no group: 0.bias",
    )
