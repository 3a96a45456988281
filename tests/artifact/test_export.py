"""A run's artifact: what it weighs, what is in it, and the runs that have none."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from said_lightning.artifact.coding import encode
from said_lightning.artifact.export import export, from_run
from said_lightning.artifact.file import read, write
from said_lightning.artifact.load import restored, score
from said_lightning.cli.app import app
from said_lightning.errors import UserError
from said_lightning.training.run import run


def test_a_file_weighs_its_numbers_and_a_short_header(said: Any, outside: Any) -> None:
    for done in (said, outside):
        assert done.record.d is not None
        assert done.file.stat().st_size <= 4 * done.record.d + 1248
    assert sum(part.numel() for part in read(outside.file).head.values()) == 34


def test_every_number_of_the_run_is_in_the_file(said: Any) -> None:
    values = read(said.file).values()
    scales = [group.scale for group in said.record.groups.values()]
    assert (len(values), values[-4:].tolist()) == (50, scales)


def test_bfloat16_halves_theta_and_the_metric_is_of_the_rounded_numbers(
    said: Any, tmp_path: Path
) -> None:
    file = tmp_path / "half.safetensors"
    artifact = export(said.folder, file, "bfloat16")
    assert said.file.stat().st_size - file.stat().st_size >= 2 * 46 - 8
    whole, half = read(said.file).values(), read(file).values()
    assert half.tobytes() == artifact.values().tobytes()
    assert half[:46].tolist() == torch.tensor(whole[:46]).bfloat16().float().tolist()
    assert half[46:].tolist() == whole[46:].tolist()
    model, tokenizer, _, _ = restored(file)
    assert score(model, tokenizer, said.config.task, 8) == read(file).about.metric.value


def test_quantised_numbers_are_those_that_the_model_gets(
    said: Any, tmp_path: Path, logits: Any
) -> None:
    artifact = from_run(said.folder)
    codebook = np.linspace(-1, 1, 8).astype(np.float16)
    symbols = np.abs(artifact.values()[:, None] - codebook).argmin(1)
    coded = replace(artifact, numbers=encode(symbols, codebook))
    plain = replace(artifact, numbers=codebook[symbols].astype(np.float32))
    for name, form in (("coded", coded), ("plain", plain)):
        write(form, tmp_path / name)
    assert read(tmp_path / "coded").values().tolist() == plain.values().tolist()
    assert torch.equal(logits(tmp_path / "coded"), logits(tmp_path / "plain"))


def test_a_run_with_a_number_that_is_not_finite_is_not_exported(said: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(said.folder, tmp_path / "run")
    path = folder / "checkpoint" / "subspace.safetensors"
    tensors = load_file(path)
    tensors["theta"][0] = float("nan")
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"subspace.safetensors: .* not finite"):
        export(folder, None, "float32")


@pytest.mark.parametrize("out", [".", "/", ""])
def test_a_folder_is_no_file_to_export_to(said: Any, out: str) -> None:
    with pytest.raises(UserError, match="cannot be written: Is a directory"):
        export(said.folder, Path(out), "float32")


def test_runs_without_numbers_to_export_are_refused(
    compose: Any, tmp_path: Path, said: Any
) -> None:
    full = compose(tmp_path, "method=full", "trainer.epochs=1")
    run(full)
    with pytest.raises(UserError, match="full fine-tuning has no theta"):
        export(full.folder, None, "float32")
    with pytest.raises(UserError, match="cannot be read"):
        export(tmp_path, None, "float32")
    failed = tmp_path / "failed"
    failed.mkdir()
    record = (said.folder / "result.json").read_text().replace('"done"', '"preempted"')
    (failed / "result.json").write_text(record)
    with pytest.raises(UserError, match="the run is preempted"):
        export(failed, None, "float32")


def test_the_commands_say_what_was_written(said: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    result = CliRunner().invoke(app, ["export", str(said.folder), "-o", str(file)])
    assert result.exit_code == 0, result.output
    size, value = file.stat().st_size, said.last.value
    assert f"{file}: {size:,} bytes, accuracy {value:.4f} after epoch 110" in result.output
    result = CliRunner().invoke(app, ["merge", str(file), "-o", str(tmp_path / "merged")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "merged" / "config.json").exists()


@pytest.mark.parametrize("part", ["task", "model"])
def test_a_run_of_others_that_would_read_this_environment_has_no_artifact(
    said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "hidden-token")
    folder = tmp_path / "run"
    shutil.copytree(said.folder, folder, ignore=shutil.ignore_patterns("said.safetensors"))
    config = OmegaConf.load(folder / "config.yaml")
    OmegaConf.update(config, f"{part}.name", "${oc.env:WANDB_API_KEY}")
    OmegaConf.save(config, folder / "config.yaml")
    with pytest.raises(UserError, match="expected values, found an interpolation"):
        export(folder, None, "float32")
    assert not (folder / "said.safetensors").exists()
