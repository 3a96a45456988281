"""A run, from a config to its folder."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from said_lightning.config.identity import RunSpec
from said_lightning.config.stored import read_config
from said_lightning.models.encoder import load
from said_lightning.projections import names
from said_lightning.runs.record import Record
from said_lightning.subspace.subspace import Subspace
from said_lightning.training import run as training
from said_lightning.training.run import run


@pytest.fixture(scope="module")
def said(compose: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunSpec, Record, Path]:
    """One finished run of SAID: its config, its record and its folder."""
    spec = compose(tmp_path_factory.mktemp("out"), "method=said", "trainer.step_ratio=200")
    return spec, run(spec), spec.folder


@pytest.fixture(scope="module")
def full(compose: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunSpec, Record, Path]:
    """One finished run of full fine-tuning."""
    spec = compose(tmp_path_factory.mktemp("out"), "method=full")
    return spec, run(spec), spec.folder


def test_a_record_has_every_field_of_the_contract(said: Any) -> None:
    spec, _, folder = said
    found = json.loads((folder / "result.json").read_text())
    assert found.keys() == {field.name for field in fields(Record)} - {"folder"}
    assert {name for name, value in found.items() if value is None} == {
        "reason",
        "step",
        "method_hash",
    }
    expected = {
        "format": 1,
        "status": "done",
        "model": "tiny",
        "task": "sst2",
        "method": "said",
        "projection": "fastfood",
        "d": 20,
        "D": 5554,
        "m": 4,
        "outside": 0,
        "seed": 0,
        "epochs": 2,
        "protocol": "splits",
        "train_rows": 22,
        "config_hash": spec.labels["config_hash"],
        "device": "cpu",
        "threads": torch.get_num_threads(),
    }
    assert {name: found[name] for name in expected} == expected
    assert [group["D"] for group in found["groups"].values()] == [800, 2224, 2224, 306]
    assert all(group["lambda"] != 1 for group in found["groups"].values())
    value = found["report"]["value"]
    assert found["metric"] == {"name": "accuracy", "value": value, "trivial": 0.5}
    assert found["metrics"] == {"accuracy": value}
    trivial = {"trivial": 0.5, "zero_shot": None}
    assert found["report"] == {"split": "dev", "rows": 10, "value": value, **trivial}
    last = found["last"]["value"]
    assert found["select"] == {"split": "train", "rows": 2, "value": last, **trivial}
    assert found["last"]["epoch"] == 2
    assert found["scores"]["rows"] == 10
    assert found["train_metric"]["name"] == "accuracy"
    assert found["lr"] == pytest.approx(200 * 5e-5 * (5554 / 20) ** 0.5)
    assert {"said_lightning", "torch", "python"} <= set(found["versions"])
    assert found["started"] <= found["ended"]
    assert min(found["wall_s"], found["peak_memory_bytes"]) > 0


def test_every_epoch_is_a_line_of_metrics(said: Any) -> None:
    _, record, folder = said
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    *epochs, report = rows
    assert [(row["epoch"], row["step"], row["select"]) for row in epochs] == [
        (1, 3, "train"),
        (2, 6, "train"),
    ]
    numbers = {"train/loss", "train/accuracy", "select/loss", "select/accuracy"}
    assert all(set(row) == {"epoch", "step", "select"} | numbers for row in epochs)
    assert record.last.value == epochs[-1]["select/accuracy"]
    assert record.best.value == max(row["select/accuracy"] for row in epochs)
    assert record.train_metric.value == epochs[-1]["train/accuracy"]
    value = record.metric.value
    assert report == {"epoch": 2, "step": 6, "report": "dev", "report/accuracy": value}


def test_the_config_that_is_kept_repeats_the_run(said: Any) -> None:
    spec, _, folder = said
    kept = RunSpec.of(read_config(folder))
    assert (kept.config, kept.name, kept.labels) == (spec.config, spec.name, spec.labels)


def test_theta_and_the_seed_give_the_trained_model_again(said: Any) -> None:
    spec, record, folder = said
    config = spec.config
    model = load(config.model, config.task, config.seed).model
    subspace = Subspace(model, record.d, seed=record.seed)
    numbers = load_file(folder / "checkpoint" / "subspace.safetensors")
    subspace.load_state_dict({"theta": numbers["theta"], "lambdas": numbers["scale"]})
    assert subspace.projection.fingerprint() == record.fingerprint
    scales = [group.scale for group in record.groups.values()]
    assert subspace.lambdas.tolist() == scales
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    subspace.write()
    after = dict(model.named_parameters())
    assert not any(torch.equal(before[name], after[name]) for name in before)


def test_full_fine_tuning_trains_all_weights_and_saves_them(full: Any) -> None:
    spec, record, folder = full
    config = spec.config
    base = dict(load(config.model, config.task, config.seed).model.named_parameters())
    trained = load_file(folder / "checkpoint" / "model.safetensors")
    assert set(trained) == set(base)
    assert not any(torch.equal(trained[name], base[name]) for name in base)
    assert (record.d, record.D, record.m, record.outside) == (5554, 5554, 0, 0)
    assert (record.lr, record.projection, record.fingerprint) == (5e-5, None, None)


def test_a_head_outside_is_added_to_d_and_saved(compose: Any, tmp_path: Path) -> None:
    spec = compose(tmp_path, "method.head=outside", "trainer.epochs=1")
    record = run(spec)
    assert (record.status, record.outside) == ("done", 34)
    assert (record.d, record.D) == (20 + 34, 5554 - 34)
    saved = load_file(spec.folder / "checkpoint" / "subspace.safetensors")
    assert sum(tensor.numel() for tensor in saved.values()) == record.d
    assert saved["head.classifier.weight"].shape == (2, 16)


def test_the_budget_and_the_rate_are_reported(
    compose: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        run(compose(tmp_path, "trainer.epochs=1", "lr=0.25", "method.head=outside"))
    assert (
        "D = 5,520, d = 20 = 16 theta + 4 lambda (embeddings, layer.0, layer.1, head), "
        "and 34 of the head outside, lr = 0.25"
    ) in caplog.messages


def test_a_run_that_is_done_is_not_repeated(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, record, _ = said

    def train(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "train", train)
    assert run(spec) == record


def test_a_regression_is_trained_on_scores_of_pairs(compose: Any, tmp_path: Path) -> None:
    for name, start in (("train.tsv", "a"), ("dev.tsv", "the")):
        scores = (("fine", 4.5), ("poor", 0.5))
        rows = [f"{start} film\t{word} film\t{score}" for word, score in scores]
        (tmp_path / name).write_text("\n".join(["sentence1\tsentence2\tscore", *rows * 3]))
    record = run(compose(tmp_path / "out", "task=stsb", f"task.data_dir={tmp_path}"))
    assert record.status == "done"
    assert set(record.metrics) == {"pearson", "spearman"}
    assert (record.metric.name, record.metric.trivial) == ("pearson", 0.0)
    assert record.D == 5554 - 17  # one output in place of two


@pytest.mark.parametrize("name", names())
def test_every_projection_trains(compose: Any, tmp_path: Path, name: str) -> None:
    record = run(compose(tmp_path, "method=said", f"projection={name}"))
    assert record.status == "done"
    assert (record.projection or "").startswith(name)
    assert record.metric.value is not None


def test_the_gradient_of_the_released_code_is_an_option_with_a_folder_of_its_own(
    compose: Any, tmp_path: Path
) -> None:
    theta = {}
    for gradient in ("exact", "released"):
        spec = compose(
            tmp_path, "method=did", "projection=released", f"projection.gradient={gradient}"
        )
        assert run(spec).projection == f"released-{gradient}"
        numbers = load_file(spec.folder / "checkpoint" / "subspace.safetensors")
        theta[gradient] = numbers["theta"]
    assert not torch.equal(theta["exact"], theta["released"])
