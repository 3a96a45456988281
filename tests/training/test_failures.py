"""What goes wrong in a run is in its record, and ends neither a sweep nor a run for its curves."""

import json
from pathlib import Path
from typing import Any

import pytest

from said_lightning.config.schema import run_folder
from said_lightning.errors import UserError
from said_lightning.training import run as training
from said_lightning.training.run import run


def told(cfg: Any) -> Any:
    """Read the record that a run left."""
    return json.loads((Path(cfg.out) / run_folder(cfg) / "result.json").read_text())


def test_a_run_that_raises_is_recorded_as_failed_and_raises_nothing(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = compose(tmp_path)

    def train(*_: Any) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(training, "train", train)
        record = run(cfg)
    assert (record.status, record.reason) == ("failed", "RuntimeError: out of memory")
    assert (told(cfg)["status"], told(cfg)["d"], told(cfg)["metric"]["value"]) == (
        "failed",
        20,
        None,
    )


def test_a_failed_run_is_tried_again_and_has_no_record_meanwhile(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = compose(tmp_path, "trainer.epochs=1")
    folder = tmp_path / run_folder(cfg)
    results = []

    def train(*_: Any) -> None:
        results.append((folder / "result.json").exists())
        raise RuntimeError("once")

    with monkeypatch.context() as patch:
        patch.setattr(training, "train", train)
        run(cfg)
        run(cfg)
    assert results == [False, False]
    assert run(cfg).status == told(cfg)["status"] == "done"


def test_a_loss_that_is_not_finite_fails_the_run_with_its_reason(
    compose: Any, tmp_path: Path
) -> None:
    cfg = compose(tmp_path, "lr=1e30")
    run(cfg)
    assert told(cfg)["status"] == "failed"
    assert told(cfg)["reason"] == "FloatingPointError: the training loss is nan in epoch 1"
    (row,) = (tmp_path / run_folder(cfg) / "metrics.jsonl").read_text().splitlines()
    assert json.loads(row)["train/loss"] is None


def test_wrong_data_are_recorded_and_raised(compose: Any, glue: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.tsv").write_text("sentence\tlabel\nfine\t1\nno label\n")
    (folder / "dev.tsv").write_bytes((glue / "SST-2" / "dev.tsv").read_bytes())
    cfg = compose(tmp_path / "out", f"task.data_dir={folder}")
    message = f"{folder / 'train.tsv'}:3: expected 2 tab-separated columns, found 1"
    with pytest.raises(UserError) as caught:
        run(cfg)
    assert caught.value.messages == (message,)
    assert (told(cfg)["status"], told(cfg)["reason"]) == ("failed", message)


def test_a_wrong_config_leaves_nothing(compose: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        run(compose(tmp_path, "d=4", "trainer.epochs=0"))
    assert caught.value.messages == (
        "trainer.epochs=0: expected more than 0",
        "d=4: expected at least 5, since SAID takes its m=4 scales out of d",
    )
    assert list(tmp_path.iterdir()) == []
