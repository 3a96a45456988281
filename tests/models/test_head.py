"""A run's head is new, or the checkpoint's with its labels by name; the budget says which."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification

from said_lightning.config.schema import ModelConfig
from said_lightning.data.task import TaskConfig
from said_lightning.errors import UserError
from said_lightning.models.encoder import load, outline
from said_lightning.training.dry_run import check
from said_lightning.training.run import run

MNLI = ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"]
KINDS = ["bert", "roberta", "deberta-v2", "distilbert", "gpt2", "modernbert"]


def classes(*labels: str) -> TaskConfig:
    """Return a task with these labels."""
    names = list(labels)
    return TaskConfig(
        name="toy", labels=names, metric="accuracy", metrics=["accuracy"], max_length=16
    )


SCORES = TaskConfig(
    name="toy", kind="regression", metric="pearson", metrics=["pearson"], max_length=16
)


@pytest.fixture
def trained(tmp_path: Path, save_tokenizer: Any) -> Any:
    """Return what makes a classifier that was trained on labels, of an architecture."""

    def make(kind: str, labels: list[str]) -> Path:
        config = AutoConfig.for_model(
            kind,
            **{"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "pad_token_id": 0},
            **{"num_attention_heads": 2, "max_position_embeddings": 32, "intermediate_size": 32},
            **{"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
            id2label=dict(enumerate(labels)),
            label2id={label: i for i, label in enumerate(labels)},
        )
        model = AutoModelForSequenceClassification.from_config(config)
        torch.manual_seed(0)
        with torch.no_grad():
            for weight in model.parameters():  # the head's come last
                weight.uniform_(-0.5, 0.5)
        folder = tmp_path / f"{kind}-{len(labels)}"
        model.save_pretrained(folder)
        save_tokenizer(folder)
        return folder

    return make


BOTH: list[Any] = [outline, lambda model, task: load(model, task, 0)]


def at(folder: Path, head: str) -> ModelConfig:
    """Name a model by its folder, and say whose head it is to have."""
    return ModelConfig(name="tiny", path=str(folder), head=head)


def logits(folder: Path, head: str, task: TaskConfig) -> Any:
    """Return the answers of a model to a few rows."""
    model, tokenizer, _, _ = load(at(folder, head), task, 0)
    rows = tokenizer(["good film", "a bad plot the"], padding=True, return_tensors="pt")
    return model.eval()(**rows).logits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", [["no", "yes"], MNLI, ["a", "b", "c", "d", "e"]])
def test_a_checkpoints_head_of_any_size_gives_way_to_a_new_one(
    trained: Any, kind: str, labels: list[str]
) -> None:
    folder = trained(kind, labels)
    task = classes("entailment", "not_entailment")
    assert outline(at(folder, "new"), task).held is True
    encoder, _, sha256, _ = load(at(folder, "new"), task, 0)
    held = load_file(folder / "model.safetensors")
    start = f"{encoder.base_model_prefix}."
    new = {n: w for n, w in encoder.named_parameters() if not n.startswith(start)}
    for name, weight in new.items():
        assert name not in held or weight.shape != held[name].shape or (weight != held[name]).any()
        assert weight.dim() > 1 or weight.unique().tolist() in ([0], [1])
    assert load(at(trained(kind, ["x", "y", "z", "u"]), "new"), task, 0).sha256 == sha256


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_that_is_kept_answers_by_the_names_of_the_labels(trained: Any, kind: str) -> None:
    folder = trained(kind, MNLI)
    given = logits(folder, "keep", classes("contradiction", "neutral", "entailment"))
    other = logits(folder, "keep", classes("entailment", "neutral", "contradiction"))
    own = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokens = load(at(folder, "keep"), classes(*MNLI), 0).tokenizer(
        ["good film", "a bad plot the"], padding=True, return_tensors="pt"
    )
    assert torch.allclose(given, own(**tokens).logits, atol=1e-6)
    assert torch.allclose(other, given[:, [2, 1, 0]], atol=1e-6)
    assert not torch.allclose(other, given, atol=1e-2)


def test_a_score_is_kept(trained: Any) -> None:
    folder = trained("bert", ["score"])
    head = dict(load(at(folder, "keep"), SCORES, 0).model.named_parameters())["classifier.weight"]
    assert torch.equal(head, load_file(folder / "model.safetensors")["classifier.weight"])


@pytest.mark.parametrize(
    ("labels", "task", "expected"),
    [
        (MNLI, classes("entailment", "not_entailment"), "entailment, not_entailment"),
        (["LABEL_0", "LABEL_1"], classes("no", "yes"), "no, yes"),
        (["no", "NO"], classes("no", "yes"), "no, yes"),
        (["no", "yes"], SCORES, "one score"),
    ],
)
def test_labels_of_other_names_are_not_kept(
    trained: Any, labels: list[str], task: TaskConfig, expected: str
) -> None:
    folder = trained("bert", labels)
    for read in BOTH:
        with pytest.raises(UserError) as caught:
            read(at(folder, "keep"), task)
        assert caught.value.messages == (
            f"model.head=keep: the checkpoint's head is for {', '.join(labels)}; expected "
            f"{expected}, as task=toy has; model.head=new draws a new one",
        )


def test_a_head_that_is_not_there_is_not_kept(trained: Any) -> None:
    folder = trained("bert", ["no", "yes"])
    held = load_file(folder / "model.safetensors")
    encoder = {name: weight for name, weight in held.items() if "classifier" not in name}
    save_file(encoder, folder / "model.safetensors", {"format": "pt"})
    for read in BOTH:
        with pytest.raises(UserError) as caught:
            read(at(folder, "keep"), classes("no", "yes"))
        assert caught.value.messages == (
            f"model.path={folder}: its weights lack classifier.weight and 1 more; "
            "model.head=new draws a new head",
        )


def test_the_budget_says_whose_head_it_is(
    trained: Any, tiny: list[str], compose: Any, tmp_path: Path, caplog: Any
) -> None:
    folder = trained("bert", ["negative", "positive"])
    new = "new, drawn from seed 7"
    kept = "kept from the checkpoint, labels by name"
    for head, said in (("new", f"{new}, not the checkpoint's"), ("keep", kept)):
        (text,) = check([*tiny, f"model.path={folder}", f"model.head={head}", "seed=7"])
        assert f"\nhead   {said}\n" in text
    (text,) = check([*tiny, "seed=7"])
    assert f"\nhead   {new}\n" in text
    with caplog.at_level("INFO"):
        spec = compose(tmp_path / "out", f"model.path={folder}", "model.head=keep")
        assert run(spec).status == "done"
    assert f"head: {kept}" in caplog.messages


def test_a_run_that_keeps_a_head_is_another_run(compose: Any, tmp_path: Path) -> None:
    kept = compose(tmp_path, "model.head=keep").labels
    assert kept["config_hash"] != compose(tmp_path).labels["config_hash"]
    assert kept["setting_hash"] != compose(tmp_path).labels["setting_hash"]
    assert compose(tmp_path, "model.head=new").labels == compose(tmp_path).labels
