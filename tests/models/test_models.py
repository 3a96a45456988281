"""Every model yaml names an architecture that a subspace trains whole, layer by layer."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from said_lightning.config.schema import Config, MethodConfig, ModelConfig
from said_lightning.data.splits import Parts, SplitRows
from said_lightning.data.task import TaskConfig
from said_lightning.errors import UserError
from said_lightning.models.encoder import build, load
from said_lightning.subspace.subspace import Subspace
from said_lightning.training.budget import estimate

TASK = TaskConfig(
    name="toy", labels=["no", "yes"], metric="accuracy", metrics=["accuracy"], max_length=16
)
Batch = dict[str, torch.Tensor]


def at(folder: Path, layers: int | None = None) -> ModelConfig:
    """Name a model by its folder."""
    return ModelConfig(name="tiny", path=str(folder), layers=layers)


def expected_groups(config: PretrainedConfig) -> list[str]:
    """Give the groups that a model of three layers has."""
    if config.model_type == "albert":  # its layers are one, shared
        return ["embeddings", "layer.0", "head"]
    stacks = ["encoder.", "decoder."] if config.model_type == "bart" else [""]
    layers = [f"{stack}layer.{i}" for stack in stacks for i in range(3)]
    return ["embeddings", *layers, "head"]


def test_a_step_changes_every_tensor_that_d_counts_and_no_other(
    config: PretrainedConfig, batch: Batch
) -> None:
    torch.manual_seed(0)
    model = build(config).eval()
    frozen = model.get_input_embeddings().weight
    frozen.requires_grad_(False)
    subspace = Subspace(model, 100)
    # Where positions have no weights of their own, nothing but the words' were the embeddings.
    groups = expected_groups(config)
    alone = config.model_type in ("llama", "qwen3", "gemma3_text", "gpt_neox")
    assert list(subspace.groups) == (groups[1:] if alone else groups)

    storages = {w.data_ptr(): w for w in model.parameters() if w is not frozen}
    assert sum(w.numel() for w in storages.values()) == subspace.D
    assert subspace.m == len(subspace.groups)
    assert sum(w.numel() for w in subspace.trainable_parameters()) == subspace.d == 100

    before = {name: w.detach().clone() for name, w in model.state_dict().items()}
    step(model, subspace, batch)
    changed = {n for n, w in model.state_dict().items() if not torch.equal(w, before[n])}
    counted = {n for n, w in model.named_parameters(remove_duplicate=False) if w.requires_grad}
    assert changed == counted
    assert {name for group in subspace.groups.values() for name in group} <= counted


def step(model: PreTrainedModel, subspace: Subspace, batch: Batch) -> None:
    """One step of AdamW through the subspace."""
    optimizer = torch.optim.AdamW(subspace.trainable_parameters(), lr=0.1)
    subspace.attach()
    model(**batch).loss.backward()
    assert all(weight.grad is None for weight in model.parameters())
    optimizer.step()
    subspace.write()


def test_layers_come_in_order_between_the_embeddings_and_the_head(config: PretrainedConfig) -> None:
    model = build(config)
    groups = Subspace(model, 100).groups
    table = model.get_input_embeddings().weight
    tables = [name for name, weight in model.named_parameters() if weight is table]
    assert set(tables) <= set(groups["embeddings"])
    assert {name for name, _ in model.named_parameters() if "classif" in name} <= set(
        groups["head"]
    )
    for name, tensors in groups.items():
        if "layer" in name:
            number = name.rpartition(".")[2]
            assert all(f".{number}." in tensor for tensor in tensors)


def test_the_first_layers_are_kept_as_they_were(pretrained: Path, architecture: str) -> None:
    whole = load(at(pretrained), TASK, 0).model
    cut = load(at(pretrained, 2), TASK, 0).model
    weights = dict(whole.named_parameters())
    kept = dict(cut.named_parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in kept.items())
    groups = [name for name in expected_groups(whole.config) if not name.endswith("layer.2")]
    assert list(Subspace(cut, 100).groups) == groups
    assert (len(kept) < len(weights)) == (architecture != "albert")


def test_only_the_head_is_new(pretrained: Path) -> None:
    first, second = (load(at(pretrained), TASK, s).model for s in (0, 1))
    pairs = zip(first.named_parameters(), second.parameters(), strict=True)
    new = {name for (name, weight), other in pairs if not torch.equal(weight, other)}
    head = set(Subspace(first, 100).groups["head"])
    assert new
    assert new <= head


def test_the_budget_of_any_architecture_is_reported(pretrained: Path) -> None:
    config = Config(model=at(pretrained), task=TASK, method=MethodConfig(name="said"), d=100)
    model = load(at(pretrained), TASK, 0).model
    m = len(Subspace(model, 100).groups)
    D, d, *_ = estimate(config, SplitRows(100, 10, 10, Parts("train", "dev")))
    assert f"D      {sum(weight.numel() for weight in model.parameters()):,}" == D
    assert d == f"d      100 = {100 - m} theta + {m} lambda"


def test_more_layers_than_there_are_is_reported(pretrained: Path) -> None:
    with pytest.raises(UserError, match=r"model.layers=4: the model has 3"):
        load(at(pretrained, 4), TASK, 0)


def test_padding_changes_nothing_that_t5_answers(batch: Batch) -> None:
    torch.manual_seed(0)
    model = build(AutoConfig.for_model("t5", vocab_size=40, d_model=16, num_layers=1)).eval()
    tokens, mask = batch["input_ids"], batch["attention_mask"]
    short = model(input_ids=tokens, attention_mask=mask).logits
    padded = model(input_ids=F.pad(tokens, (0, 3)), attention_mask=F.pad(mask, (0, 3))).logits
    assert torch.allclose(short, padded, atol=1e-6)


def test_t5_scores_a_regression(batch: Batch) -> None:
    config = AutoConfig.for_model(
        "t5", vocab_size=40, d_model=16, num_layers=1, num_labels=1, problem_type="regression"
    )
    model = build(config).eval()
    scores = torch.tensor([0.5, 3.0])
    output = model(**{**batch, "labels": scores})
    assert torch.allclose(output.loss, ((output.logits.squeeze(1) - scores) ** 2).mean())
