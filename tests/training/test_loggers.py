"""Curves go to CSV or W&B, and trouble with W&B ends nothing."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
import wandb

from said_lightning.config.identity import RunSpec
from said_lightning.config.validate import validate_config
from said_lightning.errors import UserError
from said_lightning.training import job
from said_lightning.training.run import run
from said_lightning.training.wandb_run import fitted


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
        assert file.name.startswith(f"run-{record.config_hash}")
        content = file.read_bytes()
        assert json.dumps(record.lr).encode() in content
        assert b"report/accuracy" in content
        for label in (b"tiny", b"sst2", b"said-d20", b"select/accuracy", tmp_path.name.encode()):
            assert label in content
    assert wandb.run is None


def test_what_a_run_is_called_at_wandb_fits_its_limits(tmp_path: Path) -> None:
    long = "x" * 300
    options = {"save_dir": tmp_path, "id": "12345678", "name": long, "group": ""}
    found = fitted({**options, "tags": [long, f"{long}y", "sst2"]})
    assert (len(found["name"]), found["group"]) == (128, None)
    assert found["tags"] == ["x" * 64, "sst2"]


def test_one_config_in_two_folders_is_two_runs_at_wandb_and_a_resumed_run_stays_one(
    compose: Any, tmp_path: Path
) -> None:
    ids = []
    for folder in ("a", "b", "a"):
        spec = compose(tmp_path / folder, "logger=wandb", "trainer.epochs=1")
        (spec.folder / "result.json").unlink(missing_ok=True)
        assert run(spec).status == "done"
        files = (spec.folder / "wandb").glob("offline-run-*/*.wandb")
        (one,) = {file.stem for file in files}
        ids.append(one)
    assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize("project", ["me/mine", "", "a" * 129, "50%"])
def test_a_project_that_wandb_does_not_take_is_refused_with_the_command(
    compose: Any, tmp_path: Path, project: str
) -> None:
    spec = compose(tmp_path, "logger=wandb", f"logger.project='{project}'")
    (line,) = validate_config(spec.config)
    assert line.startswith("logger.project=")


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
    monkeypatch.setattr("said_lightning.training.wandb_run.WAIT_S", 2)
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


@pytest.mark.parametrize(
    "override",
    ["task.name=PLANTED", "model.revision=PLANTED", "out=PLANTED", "logger.project=PLANTED"],
)
@pytest.mark.parametrize("planted", ["hidden-token", "${oc.env:HF_TOKEN}", "https://me:pw@host"])
def test_a_secret_in_an_override_is_refused_before_anything_keeps_it(
    main: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, planted: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hidden-token")
    monkeypatch.chdir(tmp_path)
    ended = main("logger=wandb", override.replace("PLANTED", f"'{planted}'"))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(override.partition("=")[0] + ": holds a secret")
    assert "hidden-token" not in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_secret_in_a_mistake_of_the_data_is_hidden_in_the_record(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake is a UserError, whose text comes from elsewhere, such as a server's answer."""
    monkeypatch.setenv("HF_TOKEN", "hidden-token")

    def refused(*_: Any) -> None:
        raise UserError("https://me:pw@host: hidden-token is not valid")

    monkeypatch.setattr("said_lightning.training.run.train", refused)
    spec = compose(tmp_path)
    with pytest.raises(UserError):
        run(spec)
    text = (spec.folder / "result.json").read_text()
    assert "https://***@host: *** is not valid" in text


def test_hydras_own_job_logging_hides_secrets_too(
    main: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hidden-token")
    monkeypatch.setattr(job, "work", careless)
    ended = main("hydra/job_logging=default")
    assert ended.code == 1
    (log,) = (tmp_path / "out").rglob("train.log")
    assert "refused: ***" in log.read_text()
    assert "hidden-token" not in log.read_text() + ended.out + ended.err


def careless(spec: RunSpec, *rest: Any) -> None:
    """Fail as a job that shows its token in an exception."""
    from said_lightning.training import run as training

    def train(*_: Any) -> Any:
        raise RuntimeError(f"refused: {os.environ['HF_TOKEN']}")

    training.train = train  # type: ignore[assignment]
    job.work(spec, *rest)
