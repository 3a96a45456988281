"""Whoever loads an artifact predicts what its run did; what would not is refused."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
)

import said_lightning
from said_lightning.artifact.file import read, write
from said_lightning.artifact.load import restored, score
from said_lightning.errors import UserError
from said_lightning.projections import engines_of


@pytest.mark.parametrize("which", ["said", "outside"])
def test_the_loaded_model_scores_what_the_file_says(
    which: str, request: pytest.FixtureRequest
) -> None:
    done = request.getfixturevalue(which)
    metric = read(done.file).about.metric
    assert (metric.epoch, metric.value) == (done.last.epoch, done.last.value)
    model, tokenizer, _, _ = restored(done.file)
    assert not model.training
    assert score(model, tokenizer, done.config.task, 128) == metric.value


def test_a_fresh_process_with_other_threads_and_engines_predicts_the_same(
    said: Any, logits: Any, sentences: list[str]
) -> None:
    program = """
import json, sys, torch
torch.set_num_threads(2)
from said_lightning.projections import engines_of
from said_lightning.projections.core.projection import ENGINES
import said_lightning
from transformers import AutoTokenizer
for engine in engines_of("fastfood"):
    ENGINES["cpu"] = engine
    model = said_lightning.load(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(model.name_or_path)
    rows = tokenizer(json.loads(sys.argv[2]), padding=True, return_tensors="pt")
    print(json.dumps(model(**rows).logits.tolist()))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(said.file), json.dumps(sentences)],
        capture_output=True,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    here = logits(said.file)
    assert len(here.argmax(1).unique()) == 2
    lines = ended.stdout.splitlines()
    assert len(lines) == len(engines_of("fastfood"))
    for line in lines:
        there = torch.tensor(json.loads(line))
        assert here.argmax(1).tolist() == there.argmax(1).tolist()
        torch.testing.assert_close(here, there)


def test_another_base_model_is_refused(said: Any, encoder: Path, tmp_path: Path) -> None:
    model = AutoModel.from_pretrained(encoder)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[0, 0] += 1e-3
    for part in (model, AutoTokenizer.from_pretrained(encoder)):
        part.save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="made from another base model") as caught:
        said_lightning.load(said.file, model=str(tmp_path / "other"))
    assert str(said.file) in str(caught.value)


def test_the_base_model_may_lie_elsewhere(said: Any, encoder: Path, tmp_path: Path) -> None:
    artifact = read(said.file)
    gone = artifact.about.config | {"model": {"name": "tiny", "path": str(tmp_path / "gone")}}
    moved = replace(artifact, about=replace(artifact.about, config=gone))
    write(moved, tmp_path / "moved")
    with pytest.raises(UserError, match="no such folder"):
        said_lightning.load(tmp_path / "moved")
    there = said_lightning.load(tmp_path / "moved", model=str(encoder)).state_dict()
    here = said_lightning.load(said.file).state_dict()
    assert all(torch.equal(part, here[name]) for name, part in there.items())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"fingerprint": "0" * 16}, "its P is another"),
        ({"groups": "0" * 16}, "its groups of tensors are others"),
        ({"model_sha256": "0" * 64}, "another base model"),
    ],
)
def test_what_this_version_would_not_rebuild_is_refused(
    said: Any, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    artifact = read(said.file)
    write(replace(artifact, about=replace(artifact.about, **changes)), tmp_path / "changed")
    with pytest.raises(UserError, match=reason):
        said_lightning.load(tmp_path / "changed")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("seed", 1, "its P is another"),
        ("d", 51, "theta: expected F32 or BF16 of 47 numbers"),
        ("projection", {"name": "dense"}, "its P is another"),
        ("projection", {"name": "dense", "gradient": "exact"}, "dense has no such option"),
        ("method", {"name": "said", "head": "outside"}, "its head outside the subspace is not"),
        ("model", {"name": "m", "path": "package:__main__/x"}, "package:__main__/x"),
        ("model", {"name": "m", "path": "package:os.path/x"}, "not installed"),
        ("model", {"name": "m", "path": "a" * 300}, "model.path=aaa"),
        ("model", {"name": "m", "path": "/" + "a" * 300}, "no such folder"),
        ("model", {"name": "m", "path": "~nosuchuser/x"}, "no such folder"),
    ],
)
def test_a_changed_config_is_refused(
    said: Any, tmp_path: Path, key: str, value: Any, reason: str
) -> None:
    artifact = read(said.file)
    config = artifact.about.config | {key: value}
    write(replace(artifact, about=replace(artifact.about, config=config)), tmp_path / "changed")
    with pytest.raises(UserError, match=reason):
        said_lightning.load(tmp_path / "changed")


def test_a_rank_beyond_the_weights_is_refused_before_anything_is_allocated(
    said: Any, tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="the space of LoRA needs PEFT")
    artifact = read(said.file)
    method = artifact.about.config["method"] | {"space": "lora", "r": 10**12}
    config = artifact.about.config | {"method": method}
    write(replace(artifact, about=replace(artifact.about, config=config)), tmp_path / "changed")
    with pytest.raises(UserError, match=r"method.r=10+: expected at most 16"):
        said_lightning.load(tmp_path / "changed")
