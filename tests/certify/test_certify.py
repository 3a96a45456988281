"""A run on disk becomes a certificate; a further attempt pays for those before it."""

import json
from math import log2
from pathlib import Path
from typing import Any

import pytest

import said_lightning
from said_lightning.certify.certify import certify
from said_lightning.certify.verify import verify
from said_lightning.errors import UserError
from said_lightning.runs.certificate import CERTIFICATE, read


def test_an_easy_task_has_a_certificate_that_is_not_vacuous(certified: Path) -> None:
    found = read(certified / CERTIFICATE)
    assert found.train_error <= found.bound < 0.5 * found.majority_error
    assert not found.vacuous
    assert found.dev_error <= found.bound
    assert (found.rows, found.d) == (1440, 50)  # a tenth of 1,600 rows selects
    assert found.bound == min(found.catoni, found.kl_inverse)


def test_the_artifact_of_a_certificate_is_loaded_like_any_other(
    certified: Path, artifact_of: Any
) -> None:
    assert said_lightning.load(artifact_of(certified)).num_labels == 2


def test_a_second_attempt_costs_more(copied: Path, tmp_path: Path) -> None:
    first = read(copied / CERTIFICATE)
    second = certify(copied, [6], 0, tmp_path)
    assert second.searched["levels"] == 3 == first.searched["levels"] + 1


def test_a_second_attempt_keeps_what_was_better_at_the_price_of_both(
    copied: Path, tmp_path: Path, artifact_of: Any
) -> None:
    first, content = read(copied / CERTIFICATE), artifact_of(copied).read_bytes()
    second = certify(copied, [1], 0, tmp_path)
    assert artifact_of(copied).read_bytes() == content
    assert second.errors == first.errors
    assert second.search_bits == log2(3) > first.search_bits
    assert verify(copied / CERTIFICATE) == second


@pytest.mark.parametrize("writing", ["write_whole", "certificates.write"])
def test_a_second_attempt_that_is_killed_leaves_the_first(
    writing: str, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, artifact_of: Any
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
    """Fail as where the power is gone."""
    raise KeyboardInterrupt


def test_an_earlier_certificate_without_levels_or_artifact_is_no_obstacle(
    copied: Path, tmp_path: Path, artifact_of: Any
) -> None:
    artifact_of(copied).unlink()
    path = copied / CERTIFICATE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"searched": {}}))
    assert certify(copied, [3], 0, tmp_path).searched["levels"] == 1
    assert verify(path)


def test_what_cannot_be_certified_is_refused_with_a_reason(copied: Path) -> None:
    path = copied / "result.json"
    given = json.loads(path.read_text())
    path.write_text(json.dumps(given | {"status": "failed", "method": "full", "outside": 5}))
    with pytest.raises(UserError) as caught:
        certify(copied, [3], 0, copied.parent)
    assert len(caught.value.messages) == 3, caught.value.messages
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace("kind: classification", "kind: regression"))
    with pytest.raises(UserError, match="does not classify"):
        certify(copied, [3], 0, copied.parent)


@pytest.mark.parametrize("key", ["model_sha256", "data_sha256", "fingerprint"])
def test_a_run_whose_model_or_data_changed_is_refused(key: str, copied: Path) -> None:
    path = copied / "result.json"
    given = json.loads(path.read_text())
    path.write_text(json.dumps(given | {key: "0" * 64}))
    with pytest.raises(UserError, match=key):
        certify(copied, [3], 0, copied.parent)
