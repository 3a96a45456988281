"""What goes wrong in a run is in its record, and ends neither a sweep nor a run for its curves."""

import json
from pathlib import Path
from typing import Any

import pytest

from said_lightning.errors import UserError
from said_lightning.training import run as training
from said_lightning.training.run import run


def read(spec: Any) -> Any:
    """Read the record that a run left."""
    return json.loads((spec.folder / "result.json").read_text())


def test_a_run_that_raises_is_recorded_as_failed_and_raises_nothing(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = compose(tmp_path)

    def train(*_: Any) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(training, "train", train)
        record = run(spec)
    assert (record.status, record.reason) == ("failed", "RuntimeError: out of memory")
    assert (read(spec)["status"], read(spec)["d"], read(spec)["metric"]["value"]) == (
        "failed",
        20,
        None,
    )


def test_a_failed_run_is_tried_again_and_waits_meanwhile(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = compose(tmp_path, "trainer.epochs=1")
    results = []

    def train(*_: Any) -> None:
        results.append(read(spec)["status"])
        raise RuntimeError("once")

    with monkeypatch.context() as patch:
        patch.setattr(training, "train", train)
        run(spec)
        run(spec)
    assert results == ["waiting", "waiting"]
    assert run(spec).status == read(spec)["status"] == "done"


def test_a_loss_that_is_not_finite_fails_the_run_with_its_reason(
    compose: Any, tmp_path: Path
) -> None:
    spec = compose(tmp_path, "lr=1e30")
    run(spec)
    assert read(spec)["status"] == "failed"
    assert read(spec)["reason"] == "FloatingPointError: the training loss is nan in epoch 1"
    (row,) = (spec.folder / "metrics.jsonl").read_text().splitlines()
    assert json.loads(row)["train/loss"] is None


def test_wrong_data_are_recorded_and_raised(compose: Any, glue: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.tsv").write_text("sentence\tlabel\nfine\t1\nno label\n")
    (folder / "dev.tsv").write_bytes((glue / "SST-2" / "dev.tsv").read_bytes())
    spec = compose(tmp_path / "out", f"task.data_dir={folder}")
    message = f"{folder / 'train.tsv'}:3: expected 2 tab-separated columns, found 1"
    with pytest.raises(UserError) as caught:
        run(spec)
    assert caught.value.messages == (message,)
    assert (read(spec)["status"], read(spec)["reason"]) == ("failed", message)


def test_a_wrong_config_leaves_nothing(compose: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        run(compose(tmp_path, "trainer.clip=nan", "trainer.epochs=0"))
    assert caught.value.messages == (
        "trainer.epochs=0: expected at least 1",
        "trainer.clip=nan: expected a finite number",
    )
    assert list(tmp_path.iterdir()) == []
