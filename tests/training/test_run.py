"""A run, from a config to its folder."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file

from said_lightning.config.schema import config_hash, run_folder, typed
from said_lightning.models.encoder import load
from said_lightning.projections import names
from said_lightning.runs.record import Record
from said_lightning.subspace.subspace import Subspace
from said_lightning.training import run as training
from said_lightning.training.run import run


@pytest.fixture(scope="module")
def said(compose: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[DictConfig, Record, Path]:
    """One finished run of SAID: its config, its record and its folder."""
    cfg = compose(tmp_path_factory.mktemp("out"), "method=said", "trainer.step_ratio=200")
    return cfg, run(cfg), Path(cfg.out) / run_folder(cfg)


@pytest.fixture(scope="module")
def full(compose: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[DictConfig, Record, Path]:
    """One finished run of full fine-tuning."""
    cfg = compose(tmp_path_factory.mktemp("out"), "method=full")
    return cfg, run(cfg), Path(cfg.out) / run_folder(cfg)


def test_a_record_has_every_field_of_the_contract(said: Any) -> None:
    cfg, _, folder = said
    told = json.loads((folder / "result.json").read_text())
    assert told.keys() == {field.name for field in fields(Record)} - {"folder"}
    assert {name for name, value in told.items() if value is None} == {"reason", "step"}
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
        "config_hash": config_hash(cfg),
        "device": "cpu",
        "threads": torch.get_num_threads(),
    }
    assert {name: told[name] for name in expected} == expected
    assert [group["D"] for group in told["groups"].values()] == [800, 2224, 2224, 306]
    assert all(group["lambda"] != 1 for group in told["groups"].values())
    assert told["metric"] == {"name": "accuracy", "value": told["best"]["value"], "trivial": 0.5}
    assert told["metrics"] == {"accuracy": told["best"]["value"]}
    assert told["last"]["epoch"] == 2
    assert told["train_metric"]["name"] == "accuracy"
    assert told["lr"] == pytest.approx(200 * 5e-5 * (5554 / 20) ** 0.5)
    assert {"said_lightning", "torch", "python"} <= set(told["versions"])
    assert told["started"] <= told["ended"]
    assert min(told["wall_s"], told["peak_memory_bytes"]) > 0


def test_every_epoch_is_a_line_of_metrics(said: Any) -> None:
    _, record, folder = said
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 3), (2, 6)]
    numbers = {"train/loss", "train/accuracy", "eval/loss", "eval/accuracy"}
    assert all(set(row) == {"epoch", "step"} | numbers for row in rows)
    assert record.last.value == rows[-1]["eval/accuracy"]
    assert record.train_metric.value == rows[-1]["train/accuracy"]
    assert record.metric.value == max(row["eval/accuracy"] for row in rows)


def test_the_config_that_is_kept_repeats_the_run(said: Any) -> None:
    cfg, _, folder = said
    kept = OmegaConf.load(folder / "config.yaml")
    assert kept == OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    assert isinstance(kept, DictConfig)
    assert config_hash(kept) == config_hash(cfg)


def test_theta_and_the_seed_give_the_trained_model_again(said: Any) -> None:
    cfg, record, folder = said
    config = typed(cfg)
    model = load(config.model, config.task, config.seed).model
    subspace = Subspace(model, record.d, record.seed)
    subspace.load_state_dict(load_file(folder / "checkpoint" / "subspace.safetensors"))
    assert subspace.projection.fingerprint() == record.fingerprint
    scales = [group.scale for group in record.groups.values()]
    assert subspace.scale.tolist() == scales
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    subspace.write()
    after = dict(model.named_parameters())
    assert not any(torch.equal(before[name], after[name]) for name in before)


def test_full_fine_tuning_trains_all_weights_and_saves_them(full: Any) -> None:
    cfg, record, folder = full
    config = typed(cfg)
    base = dict(load(config.model, config.task, config.seed).model.named_parameters())
    trained = load_file(folder / "checkpoint" / "model.safetensors")
    assert set(trained) == set(base)
    assert not any(torch.equal(trained[name], base[name]) for name in base)
    assert (record.d, record.D, record.m, record.outside) == (5554, 5554, 0, 0)
    assert (record.lr, record.projection, record.fingerprint) == (5e-5, None, None)


def test_a_head_outside_is_added_to_d_and_saved(compose: Any, tmp_path: Path) -> None:
    cfg = compose(tmp_path, "method.head=outside", "trainer.epochs=1")
    record = run(cfg)
    assert (record.status, record.outside) == ("done", 34)
    assert (record.d, record.D) == (20 + 34, 5554 - 34)
    saved = load_file(tmp_path / run_folder(cfg) / "checkpoint" / "subspace.safetensors")
    assert sum(tensor.numel() for tensor in saved.values()) == record.d
    assert saved["head.classifier.weight"].shape == (2, 16)


def test_the_budget_and_the_rate_are_told(
    compose: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        run(compose(tmp_path, "trainer.epochs=1", "lr=0.25", "method.head=outside"))
    assert (
        "D = 5,520, d = 20 = 16 theta + 4 lambda (embeddings, layer.0, layer.1, head), "
        "and 34 of the head outside, lr = 0.25"
    ) in caplog.messages


def test_a_run_that_is_done_is_not_repeated(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg, record, _ = said

    def train(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "train", train)
    assert run(cfg) == record


def test_a_regression_is_trained_on_scores_of_pairs(compose: Any, tmp_path: Path) -> None:
    for name in ("train.tsv", "dev.tsv"):
        rows = [f"a film\t{word} film\t{score}" for word, score in (("fine", 4.5), ("poor", 0.5))]
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
        cfg = compose(
            tmp_path, "method=did", "projection=released", f"projection.gradient={gradient}"
        )
        assert run(cfg).projection == f"released-{gradient}"
        numbers = load_file(tmp_path / run_folder(cfg) / "checkpoint" / "subspace.safetensors")
        theta[gradient] = numbers["theta"]
    assert not torch.equal(theta["exact"], theta["released"])
