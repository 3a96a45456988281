"""Anyone can check a certificate, and no change of it, its artifact or its data survives."""

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
from omegaconf import OmegaConf

from said_lightning.artifact.coding import Coded
from said_lightning.artifact.file import pack
from said_lightning.artifact.file import read as read_artifact
from said_lightning.artifact.header import Score, carried
from said_lightning.certify.recompute import by_bisection, by_grid
from said_lightning.certify.verify import verify
from said_lightning.config.stored import read_config
from said_lightning.errors import UserError
from said_lightning.runs.certificate import CERTIFICATE, Certificate, read


def test_a_certificate_holds_in_a_second_code_path(certified: Path) -> None:
    assert verify(certified / CERTIFICATE) == read(certified / CERTIFICATE)


def changed(value: Any) -> Any:
    """Return the least change of a field."""
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
    given = json.loads(path.read_text())
    path.write_text(json.dumps(given | {field: changed(given[field])}))
    with pytest.raises(UserError):
        verify(path)


def spoil(folder: Path, part: str, change: Callable[[Any], Any]) -> None:
    """Change a part of the message in an artifact that is whole otherwise."""
    file = folder / read(folder / CERTIFICATE).artifact
    artifact = read_artifact(file)
    assert isinstance(artifact.numbers, Coded)
    coded = dataclasses.replace(artifact.numbers, **{part: change(getattr(artifact.numbers, part))})
    file.write_bytes(pack(dataclasses.replace(artifact, numbers=coded)))


def restate(folder: Path, **facts: Any) -> Path:
    """Have a certificate say something else, under the right size and hash of its artifact."""
    path = folder / CERTIFICATE
    content = (folder / read(path).artifact).read_bytes()
    given = json.loads(path.read_text())
    given |= {"artifact_bytes": len(content), "artifact_sha256": sha256(content).hexdigest()}
    path.write_text(json.dumps(given | facts))
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
        verify(restate(copied))


@pytest.mark.parametrize(
    "changes",
    [
        *({"m": 3}, {"groups": "0" * 16}, {"fingerprint": "0" * 16}, {"model_sha256": "0" * 64}),
        *({"name": "f1"}, {"value": 0.999}, {"value": None}, {"epoch": 1}),
    ],
)
def test_no_value_of_the_artifact_can_be_changed(
    changes: dict[str, Any], copied: Path, artifact_of: Any
) -> None:
    artifact = read_artifact(artifact_of(copied))
    about = artifact.about
    (key,) = changes
    metric = dataclasses.asdict(about.metric)
    changed = {"metric": Score(**metric | changes)} if key in metric else changes
    about = dataclasses.replace(about, **changed)
    artifact_of(copied).write_bytes(pack(dataclasses.replace(artifact, about=about)))
    with pytest.raises(UserError, match=f"{artifact_of(copied).name}: .*{key} is") as caught:
        verify(restate(copied))
    assert len(caught.value.messages) == 1


def test_an_artifact_holds_nothing_beside_its_message(copied: Path, artifact_of: Any) -> None:
    artifact = read_artifact(artifact_of(copied))
    more = dataclasses.replace(artifact, head={"classifier.bias": torch.ones(2)})
    artifact_of(copied).write_bytes(pack(more))
    with pytest.raises(UserError, match=r"head is \['classifier.bias'\]; found \[\]"):
        verify(restate(copied))


def rebound(given: Certificate, **facts: Any) -> dict[str, Any]:
    """Return what a certificate says under another price or confidence, bounds and all."""
    given = dataclasses.replace(given, **facts)
    search = log2(prod(given.searched.values()))
    cost = (given.train_error, given.rows, given.message_bits + search, 1 - given.confidence)
    catoni, kl = by_grid(*cost), by_bisection(*cost)
    both = {"catoni": catoni, "kl_inverse": kl, "bound": min(catoni, kl), "search_bits": search}
    return facts | both


@pytest.mark.parametrize("part", ["d", "seed", "levels", "trainer"])
def test_a_certificate_without_a_part_of_its_price_is_refused(part: str, copied: Path) -> None:
    given = read(copied / CERTIFICATE)
    paid = {key: number for key, number in given.searched.items() if key != part}
    with pytest.raises(UserError, match=f"searched {part} is 0; found 1"):
        verify(restate(copied, **rebound(given, searched=paid)))


def test_another_confidence_is_refused(copied: Path) -> None:
    given = rebound(read(copied / CERTIFICATE), confidence=0.5)
    with pytest.raises(UserError, match=r"confidence is 0.5; found 0.95"):
        verify(restate(copied, **given))


@pytest.mark.parametrize("name", ["", ".", "..", "a\0b", "/etc/passwd", "../a.safetensors"])
def test_an_artifact_that_is_not_beside_its_certificate_is_refused(name: str, copied: Path) -> None:
    path = restate(copied, artifact=name)
    with pytest.raises(UserError, match="artifact: "):
        verify(path)


def test_a_count_beyond_any_number_of_rows_is_refused(copied: Path) -> None:
    for key in ("errors", "dev_errors", "rows"):
        with pytest.raises(UserError, match=key):
            verify(restate(shutil.copytree(copied, copied.parent / key), **{key: 10**400}))


def test_scores_are_not_verified(copied: Path, artifact_of: Any) -> None:
    config = read_config(copied)
    task = dataclasses.replace(
        config.task, kind="regression", labels=[], metric="pearson", metrics=["pearson"]
    )
    config = dataclasses.replace(config, task=task)
    OmegaConf.save(OmegaConf.create(dataclasses.asdict(config)), copied / "config.yaml")
    artifact = read_artifact(artifact_of(copied))
    about = dataclasses.replace(artifact.about, config=carried(config))
    artifact_of(copied).write_bytes(pack(dataclasses.replace(artifact, about=about)))
    with pytest.raises(UserError, match=r"config.yaml: task.kind: expected classification"):
        verify(restate(copied))


@pytest.mark.parametrize("text", ["out: ${nope.x}\n", "- a\n", "", "\udcff"])
def test_a_config_that_is_none_is_refused(text: str, copied: Path) -> None:
    config = copied / "config.yaml"
    whole = config.read_text().replace("out: ", "other: ") if text.startswith("out") else ""
    config.write_bytes((whole + text).encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"config.yaml: "):
        verify(copied / CERTIFICATE)


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
