"""What training could not do with a model is said before it, in one line, by check and load."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoTokenizer

from said_lightning.config.schema import ModelConfig
from said_lightning.data.task import FileSource, TaskConfig
from said_lightning.errors import UserError
from said_lightning.models.encoder import load, outline
from said_lightning.training.dry_run import validate_model_path

TASK = TaskConfig(labels=["no", "yes"], metric="accuracy", metrics=["accuracy"], max_length=16)
PAIRS = replace(TASK, files=FileSource(text=["one", "other"]))
SIZES = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 32}
Spoil = Callable[[Path], Any]


@pytest.fixture
def make(tmp_path: Path, save_tokenizer: Any) -> Callable[..., Path]:
    """Return what makes a pre-trained model of an architecture, with a tokenizer."""

    def model(kind: str = "bert", tokens: dict[str, Any] | None = None, **sizes: Any) -> Path:
        folder = tmp_path / kind
        config = AutoConfig.for_model(kind, **{**SIZES, "eos_token_id": 3, **sizes})
        AutoModel.from_config(config).save_pretrained(folder)
        save_tokenizer(folder, **(tokens or {}))
        return folder

    return model


def refusals(folder: Path, task: TaskConfig = TASK, also: Any = load) -> str:
    """Return the one line with which both check and training refuse a model."""
    model = ModelConfig(name="tiny", path=str(folder))
    found = []
    for read in (outline, lambda *both: also(*both, 0)):
        with pytest.raises(UserError) as caught:
            read(model, task)
        (line,) = caught.value.messages
        assert "\n" not in line
        found.append(line.removeprefix(f"model.path={folder}: "))
    assert found[0] == found[1]
    return found[0]


def edit(folder: Path, file: str = "config.json", **changes: Any) -> None:
    """Change entries of a JSON file."""
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2", "mistral"])
@pytest.mark.parametrize(
    ("padding", "own", "expected"), [(True, None, 0), (False, None, 3), (False, 1, 1)]
)
def test_a_decoder_pads_with_the_tokenizers_token_else_its_end_token(
    make: Any, kind: str, padding: bool, own: int | None, expected: int
) -> None:
    folder = make(kind, {"padding": padding}, pad_token_id=own)
    model = ModelConfig(name="tiny", path=str(folder))
    if kind == "qwen2" and not padding:
        expected = len(AutoTokenizer.from_pretrained(folder)) - 1  # a token that it adds itself
    assert outline(model, TASK).model.config.pad_token_id == expected
    encoder, tokenizer, _, _ = load(model, TASK, 0)
    assert (encoder.config.pad_token_id, tokenizer.pad_token_id) == (expected, expected)
    rows = tokenizer(["good film", "a good film the plot"], padding=True, return_tensors="pt")
    alone = tokenizer(["good film"], return_tensors="pt")
    encoder.eval()
    short = encoder(**alone).logits[0]
    assert torch.allclose(encoder(**rows).logits[0], short, atol=1e-5)


def test_a_decoder_without_an_end_token_is_refused(make: Any) -> None:
    assert refusals(make("llama", {"padding": False, "eos_token": None})) == (
        "its tokenizer has neither a padding token nor an end token; expected a pad_token in its "
        "tokenizer_config.json"
    )


@pytest.mark.parametrize("kind", ["bert", "gpt2", "roberta"])
def test_a_tokenizer_larger_than_the_embedding_is_refused(make: Any, kind: str) -> None:
    folder = make(kind, vocab_size=8, pad_token_id=0)
    assert refusals(folder) == (
        "its tokenizer numbers 13 tokens, its embedding has 8 rows; expected the tokenizer that "
        "it was trained with"
    )


@pytest.mark.parametrize(
    ("kind", "limit"), [("bert", 12), ("gpt2", 12), ("roberta", 11), ("bart", 12), ("ctrl", 12)]
)
def test_rows_longer_than_the_positions_are_refused(make: Any, kind: str, limit: int) -> None:
    folder = make(kind, max_position_embeddings=12, d_model=16, pad_token_id=0)
    line = f"task.max_length=16: this model takes at most {limit} tokens"
    assert refusals(folder) == line
    fits = TaskConfig(**{**vars(TASK), "max_length": limit})
    assert outline(ModelConfig(name="tiny", path=str(folder)), fits)


def test_rows_longer_than_the_tokenizer_makes_are_refused(make: Any) -> None:
    line = "task.max_length=16: this model takes at most 9 tokens"
    assert refusals(make("bert", {"model_max_length": 9})) == line


@pytest.mark.parametrize(("kind", "types"), [("roberta", 1), ("bert", 1), ("roformer", 1)])
def test_segments_that_a_model_does_not_know_are_refused(make: Any, kind: str, types: int) -> None:
    folder = make(kind, {"segments": True}, type_vocab_size=types, pad_token_id=0)
    assert refusals(folder, PAIRS) == (
        "its tokenizer numbers 2 segments, the model knows 1; expected "
        '"model_input_names": ["input_ids", "attention_mask"] in its tokenizer_config.json'
    )
    edit(folder, "tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])
    assert outline(ModelConfig(name="tiny", path=str(folder)), PAIRS)


@pytest.mark.parametrize("kind", ["distilbert", "llama", "modernbert", "mpnet"])
def test_segments_of_a_model_that_reads_none_are_not_made(make: Any, kind: str) -> None:
    special = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2}
    folder = make(kind, {"segments": True}, **special)
    encoder, tokenizer, _, _ = load(ModelConfig(name="tiny", path=str(folder)), PAIRS, 0)
    assert "token_type_ids" not in tokenizer("a", "film")
    assert encoder(**tokenizer(["a"], ["film"], return_tensors="pt")).logits.shape == (1, 2)


def cut(folder: Path) -> None:
    """Leave half of the weights."""
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def pickled(thing: Any) -> Spoil:
    """Return what puts a pickle, or a torn one, in the place of the weights."""

    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(thing)

    return spoil


def as_bin(folder: Path) -> bytes:
    """Return a model's weights as PyTorch saves them."""
    torch.save(load_file(folder / "model.safetensors"), folder / "it")
    content = (folder / "it").read_bytes()
    (folder / "it").unlink()
    return content


def weights(change: Callable[[dict[str, Any]], None]) -> Spoil:
    """Return what changes the tensors of the weights."""

    def spoil(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return spoil


FIRST = "encoder.layer.0.output.dense.weight"


class Evil:
    """An object whose unpickling would run something."""

    def __reduce__(self) -> Any:
        return os.system, ("true",)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (cut, "model.safetensors cannot be read: SafetensorError: "),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "model.safetensors cannot be read"),
        (lambda f: (f / "model.safetensors").write_text("<html>"), "cannot be read"),
        (lambda f: (f / "model.safetensors").unlink(), "no file named model.safetensors"),
        (lambda f: (f / "adapter_config.json").write_text("{}"), "it holds an adapter"),
        (pickled(pickle.dumps(Evil())), "pytorch_model.bin cannot be read: UnpicklingError: "),
        (pickled(b"torn"), "pytorch_model.bin cannot be read: "),
        (lambda f: pickled(as_bin(f)[:-400])(f), "pytorch_model.bin cannot be read: "),
        (weights(lambda held: held.pop(FIRST)), f"its weights lack bert.{FIRST}"),
        (weights(lambda held: held.clear()), "its weights lack bert.embeddings."),
        (
            weights(lambda held: held.update({FIRST: torch.zeros(2, 2)})),
            f"its weights have other shapes than its config.json: bert.{FIRST}",
        ),
    ],
)
def test_weights_that_are_torn_pickled_or_anothers_are_refused(
    make: Any, spoil: Spoil, expected: str
) -> None:
    folder = make("bert", pad_token_id=0)
    spoil(folder)
    model = ModelConfig(name="tiny", path=str(folder))
    with pytest.raises(UserError) as checked:
        outline(model, TASK)
    with pytest.raises(UserError) as trained:
        load(model, TASK, 0)
    (line,), (again,) = checked.value.messages, trained.value.messages
    assert expected in line
    assert "\n" not in line + again
    assert line.startswith(f"model.path={folder}: ")


def test_weights_as_pytorch_saves_them_are_read(make: Any) -> None:
    folder = make("bert", pad_token_id=0)
    pickled(as_bin(folder))(folder)
    model = ModelConfig(name="tiny", path=str(folder))
    assert outline(model, TASK).held is False
    assert load(model, TASK, 0).model.config.num_labels == 2


def test_a_part_of_the_weights_that_is_missing_is_named(make: Any) -> None:
    folder = make("bert", pad_token_id=0)
    config = AutoConfig.from_pretrained(folder)
    AutoModel.from_config(config).save_pretrained(folder, max_shard_size="4KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    model = ModelConfig(name="tiny", path=str(folder))
    assert outline(model, TASK).held is False
    part = min(folder.glob("model-*.safetensors"))
    part.unlink()
    with pytest.raises(UserError, match=f"no file named {part.name}"):
        outline(model, TASK)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 0},
        {"num_attention_heads": 3},
        {"hidden_size": "wide"},
        {"hidden_size": -16},
        {"hidden_act": "none such"},
        {"initializer_range": None},
        {"num_hidden_layers": None},
        {"vocab_size": 0},
        {"pad_token_id": 99},
        {"id2label": {"one": "no"}},
        {"quantization_config": {"quant_method": "none such"}},
        {"model_type": ["bert"]},
        {"type_vocab_size": 0},
        {"layer_norm_eps": "small"},
        {"architectures": 3, "max_position_embeddings": {}},
    ],
)
def test_a_strange_config_is_refused_in_one_line_or_trains(make: Any, changes: Any) -> None:
    folder = make("bert", pad_token_id=0)
    edit(folder, **changes)
    model = ModelConfig(name="tiny", path=str(folder))
    try:
        outline(model, TASK)
    except UserError as error:
        (line,) = error.messages
        assert "\n" not in line
        assert len(line) < len(str(folder)) + 420
    else:
        encoder, tokenizer, _, _ = load(model, TASK, 0)
        batch = tokenizer(["a film", "good"], padding=True, return_tensors="pt")
        encoder(**batch, labels=torch.tensor([0, 1])).loss.backward()


@pytest.mark.parametrize("content", ["[" * 100_000, "\udcff", "{", "", "[]", '"bert"', "7"])
def test_a_config_that_is_no_config_is_refused_in_one_line(make: Any, content: str) -> None:
    folder = make("bert", pad_token_id=0)
    (folder / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    model = ModelConfig(name="tiny", path=str(folder))
    (line,) = validate_model_path(model)
    assert line.startswith(f"model.path={folder}: its config.json: ")
    with pytest.raises(UserError) as caught:
        outline(model, TASK)
    assert len(caught.value.messages) == 1


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir])
def test_a_config_that_is_no_file_is_refused_at_once(make: Any, put: Callable[[Path], Any]) -> None:
    folder = make("bert", pad_token_id=0)
    (folder / "config.json").unlink()
    put(folder / "config.json")
    (line,) = validate_model_path(ModelConfig(name="tiny", path=str(folder)))
    assert line == f"model.path={folder}: its config.json is not a file"


@pytest.mark.parametrize("content", ["{", "[]", '{"model": 1}', ""])
def test_a_tokenizer_that_is_none_is_refused_in_one_line(make: Any, content: str) -> None:
    folder = make("bert", pad_token_id=0)
    (folder / "tokenizer.json").write_text(content)
    assert refusals(folder)
    shutil.rmtree(folder)
