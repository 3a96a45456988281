"""A run's artifact: what it weighs, and that whoever loads it predicts what the run did."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from typer.testing import CliRunner

import said_lightning
from said_lightning.artifact.coding import encode
from said_lightning.artifact.export import export, from_run
from said_lightning.artifact.file import FILE, read, write
from said_lightning.artifact.load import restored
from said_lightning.artifact.merge import merge
from said_lightning.artifact.score import score
from said_lightning.cli import app
from said_lightning.config.schema import Config, run_folder, typed
from said_lightning.errors import UserError
from said_lightning.projections import engines_of
from said_lightning.runs.record import Epoch, Record
from said_lightning.training.run import run

SENTENCES = [
    f"{article} {noun} {word}"
    for article in ("a", "the")
    for noun in ("film", "plot")
    for word in ("good", "fine", "great", "bad", "dull", "poor")
]


class Finished(NamedTuple):
    """A finished run, its record and its last epoch's, its artifact's file and its config."""

    folder: Path
    record: Record
    last: Epoch
    file: Path
    config: Config


def finish(compose: Any, out: Path, *overrides: str) -> Finished:
    """Train a tiny run and export it."""
    cfg = compose(out, "trainer.step_ratio=200", *overrides)
    record = run(cfg)
    folder = out / run_folder(cfg)
    export(folder, None, "float32")
    assert record.last is not None
    return Finished(folder, record, record.last, folder / FILE, typed(cfg))


@pytest.fixture(scope="module")
def said(compose: Any, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of SAID."""
    return finish(compose, tmp_path_factory.mktemp("out"), "method=said")


@pytest.fixture(scope="module")
def outside(compose: Any, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of DID with its head outside the subspace, of the first layer alone."""
    options = ("method=did", "method.head=outside", "model.layers=1", "projection=kronecker")
    return finish(compose, tmp_path_factory.mktemp("out"), *options)


def logits(file: Path) -> torch.Tensor:
    """The logits of all sentences by the model of an artifact."""
    model, tokenizer, _ = restored(file)
    with torch.inference_mode():
        found: torch.Tensor = model(
            **tokenizer(SENTENCES, padding=True, return_tensors="pt")
        ).logits
    return found


@pytest.mark.parametrize("which", ["said", "outside"])
def test_the_loaded_model_scores_what_the_file_says(
    which: str, request: pytest.FixtureRequest
) -> None:
    done = request.getfixturevalue(which)
    metric = read(done.file).about.metric
    assert (metric.epoch, metric.value) == (done.last.epoch, done.last.value)
    model, tokenizer, _ = restored(done.file)
    assert not model.training
    assert score(model, tokenizer, done.config.task, 128) == metric.value


def test_a_fresh_process_with_other_threads_and_engines_predicts_the_same(said: Finished) -> None:
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
        [sys.executable, "-c", program, str(said.file), json.dumps(SENTENCES)],
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


def test_a_file_weighs_its_numbers_and_a_short_header(said: Finished, outside: Finished) -> None:
    for done in (said, outside):
        assert done.record.d is not None
        assert done.file.stat().st_size <= 4 * done.record.d + 1248
    assert sum(part.numel() for part in read(outside.file).head.values()) == 34


def test_every_number_of_the_run_is_in_the_file(said: Finished) -> None:
    values = read(said.file).values()
    scales = [group.scale for group in said.record.groups.values()]
    assert (len(values), values[-4:].tolist()) == (20, scales)


def test_bfloat16_halves_theta_and_the_metric_is_of_the_rounded_numbers(
    said: Finished, tmp_path: Path
) -> None:
    file = tmp_path / "half.safetensors"
    artifact = export(said.folder, file, "bfloat16")
    assert said.file.stat().st_size - file.stat().st_size >= 2 * 16 - 8
    whole, half = read(said.file).values(), read(file).values()
    assert half.tobytes() == artifact.values().tobytes()
    assert half[:16].tolist() == torch.tensor(whole[:16]).bfloat16().float().tolist()
    assert half[16:].tolist() == whole[16:].tolist()
    model, tokenizer, _ = restored(file)
    assert score(model, tokenizer, said.config.task, 8) == read(file).about.metric.value


def test_quantised_numbers_are_those_that_the_model_gets(said: Finished, tmp_path: Path) -> None:
    artifact = from_run(said.folder)
    codebook = np.linspace(-1, 1, 8).astype(np.float16)
    symbols = np.abs(artifact.values()[:, None] - codebook).argmin(1)
    coded = replace(artifact, numbers=encode(symbols, codebook))
    plain = replace(artifact, numbers=codebook[symbols].astype(np.float32))
    for name, form in (("coded", coded), ("plain", plain)):
        write(form, tmp_path / name)
    assert read(tmp_path / "coded").values().tolist() == plain.values().tolist()
    assert torch.equal(logits(tmp_path / "coded"), logits(tmp_path / "plain"))


def test_a_merged_folder_needs_transformers_alone(said: Finished, tmp_path: Path) -> None:
    merge(said.file, tmp_path / "merged")
    program = """
import json, sys
from transformers import AutoModelForSequenceClassification, pipeline
AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
classify = pipeline("text-classification", sys.argv[1], truncation=True)
print(json.dumps(classify(json.loads(sys.argv[2]) + ["good " * 99])))
assert not [name for name in sys.modules if name.startswith("said_lightning")]
"""
    texts = json.dumps(SENTENCES)
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
    assert "20 = 16 theta + 4 lambda, float32" in card
    assert f"| {said.last.value:.4f} |" in card


def test_a_merged_folder_holds_the_very_weights(outside: Finished, tmp_path: Path) -> None:
    merge(outside.file, tmp_path / "merged")
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").state_dict()
    loaded = said_lightning.load(outside.file).state_dict()
    assert all(torch.equal(merged[name], part) for name, part in loaded.items())


def test_what_transformers_has_no_class_for_is_not_merged(
    said: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("said_lightning.artifact.merge.T5EncoderClassifier", PreTrainedModel)
    with pytest.raises(UserError, match="no classifier of T5's encoder alone"):
        merge(said.file, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_folder_that_holds_something_is_not_merged_into(said: Finished, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(UserError, match="expected a new folder"):
        merge(said.file, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_another_base_model_is_refused(said: Finished, encoder: Path, tmp_path: Path) -> None:
    model = AutoModel.from_pretrained(encoder)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[0, 0] += 1e-3
    for part in (model, AutoTokenizer.from_pretrained(encoder)):
        part.save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="made from another base model") as caught:
        said_lightning.load(said.file, model=str(tmp_path / "other"))
    assert str(said.file) in str(caught.value)


def test_the_base_model_may_lie_elsewhere(said: Finished, encoder: Path, tmp_path: Path) -> None:
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
    said: Finished, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    artifact = read(said.file)
    write(replace(artifact, about=replace(artifact.about, **changes)), tmp_path / "changed")
    with pytest.raises(UserError, match=reason):
        said_lightning.load(tmp_path / "changed")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("seed", 1, "its P is another"),
        ("d", 21, "theta: expected F32 or BF16 of 17 numbers"),
        ("projection", {"name": "dense"}, "its P is another"),
        ("projection", {"name": "dense", "gradient": "exact"}, "no such subspace"),
        ("method", {"name": "said", "head": "outside"}, "its head outside the subspace is not"),
        ("model", {"name": "m", "path": "package:__main__/x"}, "package:__main__/x"),
        ("model", {"name": "m", "path": "package:os.path/x"}, "not installed"),
        ("model", {"name": "m", "path": "a" * 300}, "model.path=aaa"),
        ("model", {"name": "m", "path": "/" + "a" * 300}, "no such folder"),
        ("model", {"name": "m", "path": "~nosuchuser/x"}, "no such folder"),
    ],
)
def test_a_changed_config_is_refused(
    said: Finished, tmp_path: Path, key: str, value: Any, reason: str
) -> None:
    artifact = read(said.file)
    config = artifact.about.config | {key: value}
    write(replace(artifact, about=replace(artifact.about, config=config)), tmp_path / "changed")
    with pytest.raises(UserError, match=reason):
        said_lightning.load(tmp_path / "changed")


def test_a_rank_beyond_the_weights_is_refused_before_anything_is_allocated(
    said: Finished, tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="the space of LoRA needs PEFT")
    artifact = read(said.file)
    method = artifact.about.config["method"] | {"space": "lora", "r": 10**12}
    config = artifact.about.config | {"method": method}
    write(replace(artifact, about=replace(artifact.about, config=config)), tmp_path / "changed")
    with pytest.raises(UserError, match=r"method.r=10+: expected at most 16"):
        said_lightning.load(tmp_path / "changed")


def test_an_engine_is_no_part_of_the_file(said: Finished, tmp_path: Path) -> None:
    folder = shutil.copytree(said.folder, tmp_path / "run")
    config = OmegaConf.load(folder / "config.yaml")
    config.projection.engine = "torch"
    OmegaConf.save(config, folder / "config.yaml")
    export(folder, tmp_path / "file", "float32")
    assert read(tmp_path / "file").about == read(said.file).about


def test_a_run_with_a_number_that_is_not_finite_is_not_exported(
    said: Finished, tmp_path: Path
) -> None:
    folder = shutil.copytree(said.folder, tmp_path / "run")
    path = folder / "checkpoint" / "subspace.safetensors"
    tensors = load_file(path)
    tensors["theta"][0] = float("nan")
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"subspace.safetensors: .* not finite"):
        export(folder, None, "float32")


@pytest.mark.parametrize("out", [".", "/", ""])
def test_a_folder_is_no_file_to_export_to(said: Finished, out: str) -> None:
    with pytest.raises(UserError, match="cannot be written: Is a directory"):
        export(said.folder, Path(out), "float32")


def test_runs_without_numbers_to_export_are_told(
    compose: Any, tmp_path: Path, said: Finished
) -> None:
    full = compose(tmp_path, "method=full", "trainer.epochs=1")
    run(full)
    with pytest.raises(UserError, match="full fine-tuning has no theta"):
        export(tmp_path / run_folder(full), None, "float32")
    with pytest.raises(UserError, match="cannot be read"):
        export(tmp_path, None, "float32")
    failed = tmp_path / "failed"
    failed.mkdir()
    told = (said.folder / "result.json").read_text().replace('"done"', '"preempted"')
    (failed / "result.json").write_text(told)
    with pytest.raises(UserError, match="the run is preempted"):
        export(failed, None, "float32")


def test_the_commands_say_what_was_written(said: Finished, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    result = CliRunner().invoke(app, ["export", str(said.folder), "-o", str(file)])
    assert result.exit_code == 0, result.output
    size, value = file.stat().st_size, said.last.value
    assert f"{file}: {size:,} bytes, accuracy {value:.4f} after epoch 2" in result.output
    result = CliRunner().invoke(app, ["merge", str(file), "-o", str(tmp_path / "merged")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "merged" / "config.json").exists()


def test_a_run_on_lora_factors_is_loaded_and_merged_like_any_other(
    compose: Any, tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="the space of LoRA needs PEFT")
    done = finish(compose, tmp_path / "out", "method.space=lora", "method.r=2")
    model, tokenizer, _ = restored(done.file)
    assert score(model, tokenizer, done.config.task, 128) == done.last.value
    merge(done.file, tmp_path / "merged")
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    rows = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    with torch.inference_mode():
        torch.testing.assert_close(merged(**rows).logits, model(**rows).logits)
