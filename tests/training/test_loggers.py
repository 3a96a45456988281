"""Curves go to CSV or W&B, and trouble with W&B ends nothing."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
import wandb

from said_lightning.config.identity import RunSpec
from said_lightning.training import job
from said_lightning.training.run import run


def test_no_logger_leaves_the_runs_own_files_alone(compose: Any, tmp_path: Path) -> None:
    spec = compose(tmp_path, "trainer.epochs=1")
    run(spec)
    names = {path.name for path in spec.folder.iterdir()}
    assert names == {
        "checkpoint",
        "config.yaml",
        "metrics.jsonl",
        "result.json",
        "scores.safetensors",
    }


def test_csv_leaves_a_table_in_the_runs_folder(compose: Any, tmp_path: Path) -> None:
    spec = compose(tmp_path, "logger=csv")
    run(spec)
    rows = list(csv.DictReader((spec.folder / "csv" / "metrics.csv").open()))
    assert len([row for row in rows if row["select/accuracy"]]) == 2
    assert len([row for row in rows if row["report/accuracy"]]) == 1


def test_wandb_offline_leaves_one_run_of_its_own_in_each_runs_folder(
    compose: Any, tmp_path: Path
) -> None:
    for seed in (0, 1):
        spec = compose(tmp_path, "logger=wandb", "trainer.epochs=1", f"seed={seed}")
        record = run(spec)
        assert record.status == "done"
        (file,) = (spec.folder / "wandb").glob("offline-run-*/*.wandb")
        assert file.name == f"run-{record.config_hash}.wandb"
        content = file.read_bytes()
        assert json.dumps(record.lr).encode() in content
        assert b"report/accuracy" in content
        for label in (b"tiny", b"sst2", b"said-d20", b"select/accuracy", tmp_path.name.encode()):
            assert label in content
    assert wandb.run is None


def broken(*_: Any, **__: Any) -> None:
    raise ConnectionError("the server is down")


@pytest.mark.parametrize("place", ["init", "Config.update", "Run.log", "Run.finish"])
def test_trouble_with_wandb_is_logged_and_ends_nothing(
    compose: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: str,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(f"wandb.{place}", broken)
        record = run(compose(tmp_path, "logger=wandb", "trainer.epochs=1"))
    wandb.finish()
    assert record.status == "done"
    assert "W&B is not available: the server is down" in caplog.messages


def test_without_wandbs_server_the_run_is_kept_offline_and_noted_once(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("said_lightning.training.loggers.WAIT_S", 2)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    spec = compose(tmp_path, "logger=wandb", "logger.mode=online", "trainer.epochs=1")
    record = run(spec)
    assert (record.status, record.notes) == (
        "done",
        ["W&B was not available: its run is kept offline"],
    )
    (file,) = (spec.folder / "wandb").glob("offline-run-*/*.wandb")
    assert b"select/accuracy" in file.read_bytes()


def test_no_secret_lands_in_a_runs_folder_or_log(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    secrets = {"WANDB_API_KEY": "deadbeef" * 5, "HF_TOKEN": "hf_" + "planted" * 5}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)

    assert job.run(compose(tmp_path, "logger=wandb", "trainer.epochs=1")).status == "done"
    with monkeypatch.context() as patch:
        patch.setattr(job, "work", careless)
        record = job.run(compose(tmp_path, "seed=1"))
    assert record.reason == "RuntimeError: refused: ***"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "refused: ***" in (compose(tmp_path, "seed=1").folder / "train.log").read_text()
    texts = [path.read_bytes() for path in files] + [capfd.readouterr().err.encode()]
    for value in secrets.values():
        assert not [text for text in texts if value.encode() in text]


def careless(spec: RunSpec, *rest: Any) -> None:
    """Fail as a job that shows its token in an exception."""
    from said_lightning.training import run as training

    def train(*_: Any) -> Any:
        raise RuntimeError(f"refused: {os.environ['HF_TOKEN']}")

    training.train = train  # type: ignore[assignment]
    job.work(spec, *rest)
