"""A merged folder is an ordinary model of transformers, with the very weights of the run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

import said_lightning
from said_lightning.artifact.load import restored, score
from said_lightning.artifact.merge import merge
from said_lightning.errors import UserError


def test_a_merged_folder_needs_transformers_alone(
    said: Any, tmp_path: Path, logits: Any, sentences: list[str]
) -> None:
    merge(said.file, tmp_path / "merged")
    program = """
import json, sys
from transformers import AutoModelForSequenceClassification, pipeline
AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
classify = pipeline("text-classification", sys.argv[1], truncation=True)
print(json.dumps(classify(json.loads(sys.argv[2]) + ["good " * 99])))
assert not [name for name in sys.modules if name.startswith("said_lightning")]
"""
    texts = json.dumps(sentences)
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "merged"), texts],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
    )
    labels = [row["label"] for row in json.loads(ended.stdout)]
    expected = [said.config.task.labels[i] for i in logits(said.file).argmax(1).tolist()]
    assert labels[:-1] == expected
    saved = json.loads((tmp_path / "merged" / "tokenizer_config.json").read_text())
    assert saved["model_max_length"] == said.config.task.max_length
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "50 = 46 theta + 4 lambda, float32" in card
    assert f"| {said.last.value:.4f} |" in card


def test_a_merged_folder_holds_the_very_weights(outside: Any, tmp_path: Path) -> None:
    merge(outside.file, tmp_path / "merged")
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").state_dict()
    loaded = said_lightning.load(outside.file).state_dict()
    assert all(torch.equal(merged[name], part) for name, part in loaded.items())


def test_what_transformers_has_no_class_for_is_not_merged(
    said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("said_lightning.artifact.merge.T5EncoderClassifier", PreTrainedModel)
    with pytest.raises(UserError, match="no classifier of T5's encoder alone"):
        merge(said.file, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_folder_that_holds_something_is_not_merged_into(said: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(UserError, match="expected a new folder"):
        merge(said.file, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_run_on_lora_factors_is_loaded_and_merged_like_any_other(
    tmp_path: Path, sentences: list[str], finish: Any
) -> None:
    pytest.importorskip("peft", reason="the space of LoRA needs PEFT")
    done = finish(tmp_path / "out", "method.space=lora", "method.r=2")
    model, tokenizer, _, _ = restored(done.file)
    assert score(model, tokenizer, done.config.task, 128) == done.last.value
    merge(done.file, tmp_path / "merged")
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    rows = tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.inference_mode():
        torch.testing.assert_close(merged(**rows).logits, model(**rows).logits)
