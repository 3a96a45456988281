"""A project at W&B made by a sweep holds what result.json and `said d90` say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from said_lightning.analysis.estimator import estimate
from said_lightning.artifact.file import read
from said_lightning.runs.index import find
from said_lightning.runs.record import Metric, Record, write
from said_lightning.tools.wandb.sync import offline_runs, sync
from said_lightning.training.run import run

Read = Callable[[Path], Any]


@pytest.fixture
def sweep(compose: Any, tmp_path: Path) -> Path:
    """Leave a sweep whose runs were logged to W&B offline, a baseline among them."""
    out = tmp_path / "mine"
    for method, d, seed in (("full", 20, 0), ("said", 20, 0), ("said", 400, 0)):
        overrides = [f"method={method}", f"d={d}", f"seed={seed}", "logger.log_every_n_steps=2"]
        assert run(compose(out, "logger=wandb", *overrides)).status == "done"
    return out


def plant(out: Path) -> None:
    """Leave records of runs made elsewhere, of which DID crosses the threshold between two d."""
    for method, d, value in (("full", 10**6, 0.8), ("did", 100, 0.6), ("did", 1000, 0.79)):
        about: dict[str, Any] = {"model": "planted", "task": "sst2", "method": method, "d": d}
        about["projection"] = None if method == "full" else "fastfood"
        metric = Metric(name="accuracy", value=value, trivial=0.5)
        folder = out / "planted" / str(d)
        folder.mkdir(parents=True)
        write(Record(status="done", seed=0, lr=0.1, metric=metric, **about), folder)


def file_of(folder: Path) -> Path:
    (file,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    return file


def test_a_sweep_made_offline_is_a_project_with_reported_metrics_and_one_study(
    server: Any, sweep: Path, read_wandb: Read
) -> None:
    plant(sweep)
    assert sync(sweep) == (4, [])
    assert offline_runs(sweep) == []
    found, _ = find(sweep)
    mine = [record for record in found if record.model == "tiny"]
    assert len(mine) == 3
    for record in mine:
        assert record.folder
        logged = read_wandb(file_of(record.folder))
        result = json.loads((record.folder / "result.json").read_text())
        assert logged.summary["metric"] == result["metric"]
        assert {key: logged.summary[key] for key in result} == result
        assert (logged.run.project, logged.exit_code) == ("said_lightning", 0)
        assert logged.config["d"] == record.d
    study = read_wandb(file_of(sweep))
    planted, row = estimate(found)
    assert (planted.verdict, planted.d90 is not None) == ("found", True)
    assert (study.run.job_type, study.run.run_group) == ("study", "mine")
    for one, name in ((planted, "planted · sst2 did fastfood"), (row, "tiny · sst2 said fastfood")):
        ends = dict(zip(("low", "high"), one.interval, strict=True))
        for key in ("d90", "threshold", "verdict", "full", "low", "high"):
            expected = ends[key] if key in ends else getattr(one, key)
            assert study.summary[f"{key}/{name}"] == expected
    (table,) = (file_of(sweep).parent / "files" / "media" / "table").rglob("*.json")
    content = json.loads(table.read_text())
    assert dict(zip(content["columns"], content["data"][0], strict=True))["d90"] == planted.d90
    assert len(list((file_of(sweep).parent / "files" / "media" / "images").rglob("*.png"))) == 1
    kinds = [one["jobType"] for one in server.upserts if one.get("jobType")]
    assert set(kinds) == {"full", "said", "study"}
    # The server has them too.
    metrics = [one["metric"]["value"] for one in server.summaries if "metric" in one]
    assert sorted(metrics) == sorted(record.metric.value or 0.0 for record in mine)
    (pushed,) = (one for one in server.summaries if "study/table" in one)
    assert pushed["d90/planted · sst2 did fastfood"] == planted.d90


def test_rows_at_wandb_agree_with_metrics_jsonl(sweep: Path, read_wandb: Read) -> None:
    for record in find(sweep)[0]:
        assert record.folder
        lines = (record.folder / "metrics.jsonl").read_text().splitlines()
        history = read_wandb(file_of(record.folder)).history
        rows: dict[int, dict[str, Any]] = {row["trainer/global_step"]: {} for row in history}
        for row in history:
            rows[row["trainer/global_step"]] |= row
        assert sorted(rows) == [2, 3, 4, 6]
        for expected in map(json.loads, lines):
            numbers = {k: v for k, v in expected.items() if not isinstance(v, str) and k != "step"}
            assert {key: rows[expected["step"]][key] for key in numbers} == numbers
        subspace = {"step/delta_norm", "lambda/layer.0"} if record.method == "said" else set()
        assert {"step/loss", "step/lr", "step/grad_norm", *subspace} <= rows[4].keys()


def test_a_study_stays_one_run_and_is_pushed_again_only_when_its_answer_changes(
    server: Any, sweep: Path, compose: Any, read_wandb: Read
) -> None:
    assert sync(sweep)[0] == 4
    assert sync(sweep)[0] == 0
    run(compose(sweep, "logger=none", "d=100"))
    assert sync(sweep)[0] == 1
    files = sorted((sweep / "wandb").glob("offline-run-*/*.wandb"))
    ids = {read_wandb(file).run.run_id for file in files}
    assert (len(files), len(ids)) == (2, 1)


def test_runs_that_were_not_logged_to_wandb_make_no_study(compose: Any, tmp_path: Path) -> None:
    for method in ("full", "said"):
        run(compose(tmp_path / "out", f"method={method}"))
    assert sync(tmp_path / "out") == (0, [])
    assert not (tmp_path / "out" / "wandb").exists()


def test_a_subspace_runs_artifact_is_logged_with_it(
    server: Any, sweep: Path, read_wandb: Read
) -> None:
    sync(sweep)
    for record in find(sweep)[0]:
        assert record.folder
        artifacts = read_wandb(file_of(record.folder)).artifacts
        if record.method == "full":
            assert artifacts == []
            continue
        (one,) = artifacts
        (entry,) = one.manifest.contents
        assert (one.type, entry.path) == ("model", "said.safetensors")
        assert entry.size == (record.folder / "said.safetensors").stat().st_size < 10_000
    kinds = sorted(one["artifactTypeName"] for one in server.artifacts)
    assert kinds == ["model", "model", "run_table"]
    assert server.committed == 3


def test_a_run_in_half_precision_is_not_evaluated_again_for_its_artifact(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("said_lightning.artifact.load.score", lambda *_: pytest.fail("again"))
    spec = compose(tmp_path, "logger=wandb", "trainer.epochs=1", "trainer.precision=bf16-mixed")
    assert run(spec).notes == []
    assert read(spec.folder / "said.safetensors").about.metric.value is None


def test_keywords_of_wandb_init_pass_through(
    compose: Any, tmp_path: Path, read_wandb: Read
) -> None:
    options = ("entity=me", "notes='a look'", "name=mine", "tags=[one,two]")
    overrides = [f"+logger.options.{option}" for option in options]
    spec = compose(tmp_path, "logger=wandb", "trainer.epochs=1", *overrides)
    assert run(spec).notes == []
    logged = read_wandb(file_of(spec.folder)).run
    assert (logged.entity, logged.notes, logged.display_name) == ("me", "a look", "mine")
    assert list(logged.tags) == ["one", "two"]
    assert logged.job_type == "said"


def test_a_run_of_the_dev_protocol_reports_its_best_epoch_at_wandb(
    compose: Any, tmp_path: Path, read_wandb: Read
) -> None:
    spec = compose(tmp_path, "logger=wandb", "protocol=dev", "trainer.epochs=3", "lr=1.0")
    record = run(spec)
    assert read_wandb(file_of(spec.folder)).summary["metric"]["value"] == record.metric.value
    assert record.best
    assert record.metric.value == record.best.value


def test_a_failed_run_is_one_at_wandb_too_with_its_reason(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_wandb: Read
) -> None:
    monkeypatch.setattr("said_lightning.training.run.validate_end", lambda _: 1 / 0)
    spec = compose(tmp_path, "logger=wandb", "trainer.epochs=1")
    run(spec)
    logged = read_wandb(file_of(spec.folder))
    assert logged.exit_code == 1
    assert logged.summary["reason"] == "ZeroDivisionError: division by zero"
