"""A run on disk becomes a certificate that anyone can check, and that no change survives."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from math import log2, prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

import said_lightning
from said_lightning.artifact.claims import carried
from said_lightning.artifact.coding import Coded, decode
from said_lightning.artifact.export import from_run
from said_lightning.artifact.file import Score, pack
from said_lightning.artifact.file import read as read_artifact
from said_lightning.certify.certify import certify, finished
from said_lightning.certify.quantise import lloyd, quantise
from said_lightning.certify.rebuilt import rebuild
from said_lightning.certify.tune import SHARE, Tuner, tune
from said_lightning.certify.verify import by_bisection, by_grid, verify
from said_lightning.config.schema import folder_of
from said_lightning.config.selection import around, searched
from said_lightning.config.stored import read_config, write_config
from said_lightning.errors import UserError
from said_lightning.runs.certificate import CERTIFICATE, Certificate, read
from said_lightning.training.run import run

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


def artifact_of(folder: Path) -> Path:
    """The artifact of a certified run."""
    return folder / read(folder / CERTIFICATE).artifact


def spoil(folder: Path, part: str, change: Callable[[Any], Any]) -> None:
    """Change a part of the message in an artifact that is whole otherwise."""
    artifact = read_artifact(artifact_of(folder))
    assert isinstance(artifact.numbers, Coded)
    coded = dataclasses.replace(artifact.numbers, **{part: change(getattr(artifact.numbers, part))})
    artifact_of(folder).write_bytes(pack(dataclasses.replace(artifact, numbers=coded)))


def tell(folder: Path, **facts: Any) -> Path:
    """Have a certificate say something else, under the right size and hash of its artifact."""
    content, path = artifact_of(folder).read_bytes(), folder / CERTIFICATE
    told = json.loads(path.read_text())
    told |= {"artifact_bytes": len(content), "artifact_sha256": sha256(content).hexdigest()}
    path.write_text(json.dumps(told | facts))
    return path


@pytest.mark.parametrize("part", ["codebook", "counts", "words"])
def test_no_payload_can_be_changed(part: str, copied: Path) -> None:
    spoil(copied, part, lambda found: found + (np.arange(len(found)) == 0).astype(found.dtype))
    with pytest.raises(UserError):
        verify(copied / CERTIFICATE)


def test_another_payload_is_found_out_even_under_its_own_hash(copied: Path) -> None:
    # A constant answer, in as short a message.
    spoil(copied, "codebook", np.zeros_like)
    with pytest.raises(UserError, match="errors is"):
        verify(tell(copied))


@pytest.mark.parametrize(
    "changes",
    [
        *({"m": 3}, {"groups": "0" * 16}, {"fingerprint": "0" * 16}, {"model_sha256": "0" * 64}),
        *({"name": "f1"}, {"value": 0.999}, {"value": None}, {"epoch": 1}),
    ],
)
def test_no_claim_of_the_artifact_can_be_changed(changes: dict[str, Any], copied: Path) -> None:
    artifact = read_artifact(artifact_of(copied))
    about = artifact.about
    (key,) = changes
    metric = dataclasses.asdict(about.metric)
    changed = {"metric": Score(**metric | changes)} if key in metric else changes
    about = dataclasses.replace(about, **changed)
    artifact_of(copied).write_bytes(pack(dataclasses.replace(artifact, about=about)))
    with pytest.raises(UserError, match=f"{artifact_of(copied).name}: .*{key} is") as caught:
        verify(tell(copied))
    assert len(caught.value.messages) == 1


def test_an_artifact_holds_nothing_beside_its_message(copied: Path) -> None:
    artifact = read_artifact(artifact_of(copied))
    more = dataclasses.replace(artifact, head={"classifier.bias": torch.ones(2)})
    artifact_of(copied).write_bytes(pack(more))
    with pytest.raises(UserError, match=r"head is \['classifier.bias'\]; found \[\]"):
        verify(tell(copied))


def rebound(told: Certificate, **facts: Any) -> dict[str, Any]:
    """What a certificate says under another price or confidence, bounds and all."""
    told = dataclasses.replace(told, **facts)
    search = log2(prod(told.searched.values()))
    cost = (told.train_error, told.rows, told.message_bits + search, 1 - told.confidence)
    catoni, kl = by_grid(*cost), by_bisection(*cost)
    both = {"catoni": catoni, "kl_inverse": kl, "bound": min(catoni, kl), "search_bits": search}
    return facts | both


@pytest.mark.parametrize("part", ["d", "seed", "levels", "trainer"])
def test_a_certificate_without_a_part_of_its_price_is_refused(part: str, copied: Path) -> None:
    told = read(copied / CERTIFICATE)
    paid = {key: number for key, number in told.searched.items() if key != part}
    with pytest.raises(UserError, match=f"searched {part} is 0; found 1"):
        verify(tell(copied, **rebound(told, searched=paid)))


def test_another_confidence_is_refused(copied: Path) -> None:
    told = rebound(read(copied / CERTIFICATE), confidence=0.5)
    with pytest.raises(UserError, match=r"confidence is 0.5; found 0.95"):
        verify(tell(copied, **told))


@pytest.mark.parametrize("name", ["", ".", "..", "a\0b", "/etc/passwd", "../a.safetensors"])
def test_an_artifact_that_is_not_beside_its_certificate_is_refused(name: str, copied: Path) -> None:
    path = tell(copied, artifact=name)
    with pytest.raises(UserError, match="artifact: "):
        verify(path)


def test_a_count_beyond_any_number_of_rows_is_refused(copied: Path) -> None:
    for key in ("errors", "dev_errors", "rows"):
        with pytest.raises(UserError, match=key):
            verify(tell(shutil.copytree(copied, copied.parent / key), **{key: 10**400}))


def test_scores_are_not_verified(copied: Path) -> None:
    cfg = read_config(copied)
    cfg.task.update(kind="regression", labels=[], metric="pearson", metrics=["pearson"])
    write_config(cfg, copied)
    plain: Any = OmegaConf.to_container(cfg)
    artifact = read_artifact(artifact_of(copied))
    about = dataclasses.replace(artifact.about, config=carried(plain))
    artifact_of(copied).write_bytes(pack(dataclasses.replace(artifact, about=about)))
    with pytest.raises(UserError, match=r"config.yaml: task.kind: expected classification"):
        verify(tell(copied))


@pytest.mark.parametrize("text", ["out: ${nope.x}\n", "- a\n", "", "\udcff"])
def test_a_config_that_is_none_is_refused(text: str, copied: Path) -> None:
    config = copied / "config.yaml"
    whole = config.read_text().replace("out: ", "other: ") if text.startswith("out") else ""
    config.write_bytes((whole + text).encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"config.yaml: "):
        verify(copied / CERTIFICATE)


def test_the_artifact_of_a_certificate_is_loaded_like_any_other(certified: Path) -> None:
    assert said_lightning.load(artifact_of(certified)).num_labels == 2


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


@pytest.fixture
def sweep(certified: Path, tmp_path: Path) -> Path:
    """A copy of the certified run as it lies in a sweep."""
    return shutil.copytree(certified, tmp_path / Path(*certified.parts[-3:]))


def grow(folder: Path, **values: int) -> None:
    """Put another run beside one, with other values."""
    other = shutil.copytree(folder, folder.with_name("-".join(values)))
    config = (other / "config.yaml").read_text()
    for key, value in values.items():
        config = config.replace(f"\n{key}: {PLANNED[key]}\n", f"\n{key}: {value}\n")
    (other / "config.yaml").write_text(config)


def test_what_was_searched_is_counted_and_paid_for(sweep: Path, tmp_path: Path) -> None:
    before = searched(sweep, tmp_path)
    assert set(before.values()) == {1}
    grow(sweep, d=30)
    grow(sweep, d=40, seed=3)
    assert searched(sweep, tmp_path) == before | {"d": 3, "seed": 2}


def test_a_certificate_is_refused_once_its_sweep_has_more_runs(sweep: Path, tmp_path: Path) -> None:
    assert verify(sweep / CERTIFICATE, sweep=tmp_path)
    grow(sweep, seed=1)
    for folder in (tmp_path, None):  # named, or found as certify finds it
        with pytest.raises(UserError, match="searched seed is 1; found 2: certify again"):
            verify(sweep / CERTIFICATE, sweep=folder)
    again = certify(sweep, [3], 0)
    assert again.searched["seed"] == 2
    assert verify(sweep / CERTIFICATE) == again


def test_a_sweep_is_sought_where_the_folders_are_a_sweeps(
    sweep: Path, copied: Path, tmp_path: Path
) -> None:
    assert around(sweep) == tmp_path
    assert around(copied) is None
    with pytest.raises(UserError, match="expected --sweep FOLDER"):
        certify(copied, [3], 0)
    assert verify(copied / CERTIFICATE)


def test_a_sweep_without_the_run_is_refused(copied: Path, certified: Path) -> None:
    with pytest.raises(UserError, match="not below it"):
        searched(copied, sweep_of(certified))


def test_a_second_attempt_costs_more(copied: Path, tmp_path: Path) -> None:
    first = read(copied / CERTIFICATE)
    second = certify(copied, [6], 0, tmp_path)
    assert second.searched["levels"] == 3 == first.searched["levels"] + 1


def test_a_second_attempt_keeps_what_was_better_at_the_price_of_both(
    copied: Path, tmp_path: Path
) -> None:
    first, content = read(copied / CERTIFICATE), artifact_of(copied).read_bytes()
    second = certify(copied, [1], 0, tmp_path)
    assert artifact_of(copied).read_bytes() == content
    assert second.errors == first.errors
    assert second.search_bits == log2(3) > first.search_bits
    assert verify(copied / CERTIFICATE) == second


@pytest.mark.parametrize("writing", ["write_whole", "certificates.write"])
def test_a_second_attempt_that_is_killed_leaves_the_first(
    writing: str, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(copied / CERTIFICATE)
    with monkeypatch.context() as patched:
        # Nothing earlier competes, so that the second is another.
        patched.setattr("said_lightning.certify.certify.earlier", lambda *_: (2, []), raising=False)
        patched.setattr(f"said_lightning.certify.certify.{writing}", pulled)
        with pytest.raises(KeyboardInterrupt):
            certify(copied, [1], 0, tmp_path)
    assert verify(copied / CERTIFICATE) == first
    (mine := copied / "quantised-mine.safetensors").touch()
    certify(copied, [4], 0, tmp_path)
    assert sorted(copied.glob("quantised*")) == sorted([mine, artifact_of(copied)])


def pulled(*_: Any) -> None:
    """The power is gone."""
    raise KeyboardInterrupt


def test_an_earlier_certificate_without_levels_or_artifact_is_no_obstacle(
    copied: Path, tmp_path: Path
) -> None:
    artifact_of(copied).unlink()
    path = copied / CERTIFICATE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"searched": {}}))
    assert certify(copied, [3], 0, tmp_path).searched["levels"] == 1
    assert verify(path)


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
