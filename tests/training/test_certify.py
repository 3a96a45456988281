"""A run on disk becomes a certificate that anyone can check, and that no change survives."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

import said_lightning
from said_lightning.artifact.export import from_run
from said_lightning.artifact.file import pack
from said_lightning.artifact.file import read as read_artifact
from said_lightning.certify.certify import ARTIFACT, certify, finished
from said_lightning.certify.quantise import lloyd, quantise
from said_lightning.certify.rebuilt import rebuild
from said_lightning.certify.searched import searched
from said_lightning.certify.tune import SHARE, Tuner, tune
from said_lightning.certify.verify import verify
from said_lightning.coding import Coded, decode
from said_lightning.config import folder_of
from said_lightning.errors import UserError
from said_lightning.runs.certificate import CERTIFICATE, Certificate, read
from said_lightning.training import run

# Enough rows, easy enough, for a bound below the majority's error.
ROWS = 800
PLANNED = {"d": 24, "seed": 0}
FIT = ["trainer.epochs=2", "trainer.batch_size=8", "trainer.save_every=1000", "lr=0.3", "d=24"]


@pytest.fixture(scope="module")
def easy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SST-2 as original files, where one word of three decides."""
    folder = tmp_path_factory.mktemp("easy")
    (folder / "SST-2").mkdir()
    words = (("bad", "dull", "poor"), ("good", "fine", "great"))
    for name, rows in (("train.tsv", ROWS), ("dev.tsv", 60)):
        lines = [f"the film a {words[i % 2][i % 3]} plot\t{i % 2}" for i in range(rows)]
        (folder / "SST-2" / name).write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    return folder


@pytest.fixture(scope="module")
def trained(
    compose: Callable[..., DictConfig], easy: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run that learned the easy task."""
    cfg = compose(tmp_path_factory.mktemp("sweep"), f"task.data_dir={easy}", *FIT)
    assert run(cfg).status == "done"
    return folder_of(cfg)


def sweep_of(folder: Path) -> Path:
    return folder.parents[2]


@pytest.fixture(scope="module")
def certified(trained: Path) -> Path:
    """The same with its certificate."""
    certify(trained, [3, 6], 1, sweep_of(trained))
    return trained


@pytest.fixture
def copied(certified: Path, tmp_path: Path) -> Path:
    """A copy of the run to spoil."""
    return shutil.copytree(certified, tmp_path / "run")


def test_an_easy_task_has_a_certificate_that_is_not_vacuous(certified: Path) -> None:
    found = read(certified / CERTIFICATE)
    assert found.train_error <= found.bound < 0.5 * found.majority_error
    assert not found.vacuous
    assert found.dev_error <= found.bound
    assert (found.rows, found.d) == (ROWS, 24)
    assert found.bound == min(found.catoni, found.kl_inverse)


def test_a_certificate_holds_in_a_second_code_path(certified: Path) -> None:
    assert verify(certified / CERTIFICATE) == read(certified / CERTIFICATE)


def changed(value: Any) -> Any:
    """The least change of a field."""
    match value:
        case bool():
            return not value
        case str():
            return value[:-1] + ("0" if value[-1] != "0" else "1")
        case int():
            return value + 1
        case float():
            return value + 1e-6 if value < 0.5 else value - 1e-6
    return {name: number + (name == "levels") for name, number in value.items()}


@pytest.mark.parametrize("field", [one.name for one in dataclasses.fields(Certificate)])
def test_no_field_can_be_changed(field: str, copied: Path) -> None:
    path = copied / CERTIFICATE
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {field: changed(told[field])}))
    with pytest.raises(UserError):
        verify(path)


def spoil(folder: Path, part: str, change: Callable[[Any], Any]) -> bytes:
    """Change a part of the message in an artifact that is whole otherwise."""
    artifact = read_artifact(folder / ARTIFACT)
    assert isinstance(artifact.numbers, Coded)
    coded = dataclasses.replace(artifact.numbers, **{part: change(getattr(artifact.numbers, part))})
    content = pack(dataclasses.replace(artifact, numbers=coded))
    (folder / ARTIFACT).write_bytes(content)
    return content


@pytest.mark.parametrize("part", ["codebook", "counts", "words"])
def test_no_payload_can_be_changed(part: str, copied: Path) -> None:
    spoil(copied, part, lambda found: found + (np.arange(len(found)) == 0).astype(found.dtype))
    with pytest.raises(UserError):
        verify(copied / CERTIFICATE)


def test_another_payload_is_found_out_even_under_its_own_hash(copied: Path) -> None:
    # A constant answer, in as short a message.
    content = spoil(copied, "codebook", np.zeros_like)
    path = copied / CERTIFICATE
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"artifact_sha256": sha256(content).hexdigest()}))
    with pytest.raises(UserError, match="errors is"):
        verify(path)


def test_the_artifact_of_a_certificate_is_loaded_like_any_other(certified: Path) -> None:
    assert said_lightning.load(certified / ARTIFACT).num_labels == 2


@pytest.mark.parametrize("split", ["train.tsv", "dev.tsv"])
def test_no_data_file_can_be_changed(
    split: str, certified: Path, easy: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(easy, tmp_path / "easy")
    assert verify(certified / CERTIFICATE, str(data))
    file = data / "SST-2" / split
    file.write_text(file.read_text().replace("a good plot\t1", "a good plot\t0", 1))
    with pytest.raises(UserError, match="data_sha256"):
        verify(certified / CERTIFICATE, str(data))


def test_what_was_searched_is_counted_and_paid_for(
    certified: Path, compose: Callable[..., DictConfig]
) -> None:
    before = searched(certified, sweep_of(certified))
    assert set(before.values()) == {1}
    for overrides in (["d=30"], ["d=40", "seed=3"]):
        folder = folder_of(compose(sweep_of(certified), *FIT, *overrides))
        shutil.copytree(certified, folder)
        config = (folder / "config.yaml").read_text()
        for override in overrides:
            key, value = override.split("=")
            config = config.replace(f"\n{key}: {PLANNED[key]}\n", f"\n{key}: {value}\n")
        (folder / "config.yaml").write_text(config)
    assert searched(certified, sweep_of(certified)) == before | {"d": 3, "seed": 2}


def test_a_sweep_without_the_run_is_refused(copied: Path, certified: Path) -> None:
    with pytest.raises(UserError, match="not below it"):
        searched(copied, sweep_of(certified))


def test_a_second_attempt_costs_more(copied: Path, tmp_path: Path) -> None:
    first = read(copied / CERTIFICATE)
    second = certify(copied, [6], 0, tmp_path)
    assert second.searched["levels"] == 3 == first.searched["levels"] + 1


def test_a_run_whose_d_grew_is_fine_tuned_at_its_own_rate(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = Tuner.on_before_optimizer_step

    def watched(self: Tuner, optimizer: Any) -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        step(self, optimizer)

    monkeypatch.setattr(Tuner, "on_before_optimizer_step", watched)
    cfg, record = finished(trained)
    rebuilt = rebuild(cfg, record, from_run(trained))
    cfg.trainer.grow_from = 6
    tune(cfg, rebuilt, lloyd(rebuilt.values, 3), 2)
    assert max(rates) == pytest.approx(SHARE * cfg.lr)


def test_fine_tuning_moves_the_levels_and_no_weight_is_left_behind(trained: Path) -> None:
    cfg, record = finished(trained)
    rebuilt = rebuild(cfg, record, from_run(trained))
    codebook = lloyd(rebuilt.values, 3)
    plain = quantise(rebuilt.values, codebook)
    tuned = tune(cfg, rebuilt, codebook, 1)
    assert not np.array_equal(decode(plain), decode(tuned))
    rebuilt.hold(rebuilt.values)
    again = rebuild(cfg, record, from_run(trained))
    again.hold(again.values)
    for one, other in zip(rebuilt.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_fine_tuning_lowers_the_error_of_a_coarse_message(trained: Path) -> None:
    cfg, record = finished(trained)
    rebuilt = rebuild(cfg, record, from_run(trained))

    def errors(coded: Coded) -> int:
        rebuilt.hold(decode(coded))
        return rebuilt.errors(rebuilt.data.train_set)

    codebook = lloyd(rebuilt.values, 3)
    plain = errors(quantise(rebuilt.values, codebook))
    assert errors(tune(cfg, rebuilt, codebook, 1)) < plain


def test_what_cannot_be_certified_is_refused_with_a_reason(copied: Path) -> None:
    path = copied / "result.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"status": "failed", "method": "full", "outside": 5}))
    with pytest.raises(UserError) as caught:
        certify(copied, [3], 0, copied.parent)
    assert len(caught.value.messages) == 3
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace("kind: classification", "kind: regression"))
    with pytest.raises(UserError, match="predicts scores"):
        certify(copied, [3], 0, copied.parent)


@pytest.mark.parametrize("key", ["model_sha256", "data_sha256", "fingerprint"])
def test_a_run_whose_model_or_data_changed_is_refused(key: str, copied: Path) -> None:
    path = copied / "result.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {key: "0" * 64}))
    with pytest.raises(UserError, match=key):
        certify(copied, [3], 0, copied.parent)
