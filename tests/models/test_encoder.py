"""An encoder is loaded whole, starts its head the same everywhere, and is refused with a reason."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from said_lightning.config.schema import ModelConfig
from said_lightning.data.task import TaskConfig
from said_lightning.errors import UserError
from said_lightning.models.encoder import load, outline
from said_lightning.models.locate import locate

TASK = TaskConfig(
    name="toy", labels=["no", "yes"], metric="accuracy", metrics=["accuracy"], max_length=16
)
SCORES = TaskConfig(
    name="toy", kind="regression", metric="pearson", metrics=["pearson"], max_length=16
)


def at(path: Path | str) -> ModelConfig:
    """Name a model by its path."""
    return ModelConfig(name="tiny", path=str(path))


@pytest.fixture
def copy(encoder: Path, tmp_path: Path) -> Path:
    """Return a copy of the encoder that a test may spoil."""
    return Path(shutil.copytree(encoder, tmp_path / "encoder"))


def test_the_encoders_weights_are_those_on_disk(encoder: Path) -> None:
    model = load(at(encoder), TASK, 0).model
    weights = dict(model.named_parameters())
    saved = load_file(encoder / "model.safetensors")
    assert all(torch.equal(weights[f"bert.{name}"], saved[name]) for name in saved)
    assert all(weight.dtype == torch.float32 for weight in weights.values())


def test_the_model_comes_in_training_mode(encoder: Path) -> None:
    assert all(part.training for part in load(at(encoder), TASK, 0).model.modules())


def test_the_head_is_drawn_from_the_seed_alone(encoder: Path) -> None:
    def head(seed: int, chance: int) -> Any:
        torch.manual_seed(chance)
        return load(at(encoder), TASK, seed).model.classifier

    first, again, other = head(0, 1), head(0, 2), head(1, 1)
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    assert not first.bias.any()
    assert 0.5 < first.weight.std() / 0.2 < 1.5


def test_a_task_gives_the_head_its_size_and_its_loss(encoder: Path) -> None:
    classes, scores = load(at(encoder), TASK, 0).model, load(at(encoder), SCORES, 0).model
    assert (classes.config.num_labels, scores.config.num_labels) == (2, 1)
    assert classes.config.problem_type == "single_label_classification"
    assert scores.config.problem_type == "regression"
    assert classes.config.id2label == {0: "no", 1: "yes"}


def test_the_hash_is_of_the_pretrained_weights_alone(encoder: Path, copy: Path) -> None:
    first = load(at(encoder), TASK, 0).sha256
    assert first == load(at(encoder), SCORES, 1).sha256 == load(at(copy), TASK, 0).sha256
    weights = load_file(copy / "model.safetensors")
    weights["embeddings.LayerNorm.bias"][3] += 1e-6
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert load(at(copy), TASK, 0).sha256 != first


def test_an_outline_has_the_tensors_of_the_model_and_no_numbers(encoder: Path) -> None:
    skeleton, model = outline(at(encoder), TASK).model, load(at(encoder), TASK, 0).model
    assert all(weight.is_meta for weight in skeleton.parameters())
    shapes = {name: weight.shape for name, weight in skeleton.named_parameters()}
    assert shapes == {name: weight.shape for name, weight in model.named_parameters()}


def test_a_path_is_a_folder_or_a_package_or_else_a_name_on_the_hub(encoder: Path) -> None:
    assert locate(at(encoder)) == str(encoder)
    assert locate(at("google-bert/bert-base-uncased")) == "google-bert/bert-base-uncased"
    assert Path(locate(at("package:said_lightning/data"))).is_dir()


def reason(path: Path | str, read: Any = outline) -> str:
    """Give the one message with which a model is refused."""
    with pytest.raises(UserError) as caught:
        read(at(path), TASK) if read is outline else read(at(path), TASK, 0)
    (message,) = caught.value.messages
    return str(message)


@pytest.mark.parametrize("path", ["/missing", "./missing", "~/missing", "package:transformers/no"])
def test_a_missing_folder_is_named(path: str) -> None:
    assert reason(path) == f"model.path={path}: no such folder; expected one with a config.json"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, "Should have a `model_type` key in its config.json"),
        ("{", "is not a valid JSON file"),
        (json.dumps({"model_type": "bird"}), "model type `bird`"),
        (json.dumps({"model_type": "clip"}), "Unrecognized configuration class"),
    ],
)
def test_a_folder_that_holds_no_text_classifier_is_reported_why(
    copy: Path, config: str | None, expected: str
) -> None:
    (copy / "config.json").unlink()
    if config is not None:
        (copy / "config.json").write_text(config)
    message = reason(copy)
    assert message.startswith(f"model.path={copy}: ")
    assert expected in message
    assert "hub" not in message


def test_missing_weights_and_a_missing_vocabulary_are_reported(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert "no file named model.safetensors" in reason(copy, load)
    assert "no file named model.safetensors" in reason(copy)
    for file in copy.glob("tokenizer*"):
        file.unlink()
    assert reason(copy, load) == f"model.path={copy}: its tokenizer has no vocabulary"
