"""However the processes of a run end, the run has one folder and one record, and none is left."""

import json
import os
import signal
import time
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.strategies import DDPStrategy, FSDPStrategy, Strategy
from safetensors.torch import load_file
from torch import Tensor, distributed

from said_lightning.errors import UserError
from said_lightning.runs.record import Record
from said_lightning.training.callbacks import SubspaceCallback
from said_lightning.training.module import Classifier
from said_lightning.training.run import run

pytestmark = pytest.mark.usefixtures("on_the_cpu")

Numbers = dict[str, Tensor]


def test_one_process_writes_the_folder(compose: Any, tmp_path: Path) -> None:
    contents = []
    for devices in (1, 2):
        spec = compose(tmp_path, f"trainer.devices={devices}", "trainer.epochs=2", "logger=csv")
        assert run(spec).status == "done"
        folder = spec.folder
        contents.append({path.relative_to(folder) for path in folder.rglob("*")})
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [row["epoch"] for row in rows] == [1, 2, 2]  # the report rows' last
        assert len((folder / "csv" / "metrics.csv").read_text().splitlines()) == 1 + 4
    assert contents[0] == contents[1]


@pytest.mark.parametrize("victim", ["first", "other"])
def test_when_a_process_fails_the_run_has_failed_and_all_processes_end(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    def fail(self: Classifier, batch: Any, index: int) -> None:
        if self.global_step == 2 and victim == "first":
            raise RuntimeError("out of memory")
        if self.global_step == 2:
            active_children()[0].kill()

    environment = dict(os.environ)
    monkeypatch.setattr(Classifier, "on_train_batch_start", fail)
    record = run(compose(tmp_path, "trainer.devices=2"))
    assert record.status == "failed"
    assert (record.reason == "RuntimeError: out of memory") == (victim == "first")
    assert not active_children()
    assert not distributed.is_initialized()
    assert dict(os.environ) == environment


def test_when_a_process_dies_before_the_processes_have_met_the_run_has_failed(
    compose: Any, tmp_path: Path
) -> None:
    def strike() -> None:
        while not (others := active_children()):
            time.sleep(0.01)
        others[0].kill()

    thread = Thread(target=strike)
    thread.start()
    record = run(compose(tmp_path, "trainer.devices=2"))
    thread.join()
    assert record.reason == "RuntimeError: process 1 of 2 ended before training"
    assert not active_children()


def test_a_signal_to_one_process_ends_all_and_the_run_resumes_to_the_same_bits(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(folder: str) -> tuple[Record, Numbers]:
        spec = compose(tmp_path / folder, "trainer.devices=2", "trainer.batch_size=4")
        record = run(spec)
        numbers = spec.folder / "checkpoint" / "subspace.safetensors"
        return record, load_file(numbers) if record.status == "done" else {}

    def strike(step: int, victim: Callable[[], int | None]) -> None:
        def start(self: Classifier, batch: Any, index: int) -> None:
            if self.global_step == step:
                os.kill(victim() or 0, signal.SIGTERM)
            seed(self, batch, index)

        monkeypatch.setattr(Classifier, "on_train_batch_start", start)

    seed = Classifier.on_train_batch_start
    _, whole = outcome("whole")
    for step, victim in ((1, lambda: active_children()[0].pid), (4, os.getpid)):
        strike(step, victim)
        record, _ = outcome("struck")
        assert (record.status, record.reason) == ("preempted", "SIGTERM")
        assert not active_children()
    monkeypatch.setattr(Classifier, "on_train_batch_start", seed)
    record, numbers = outcome("struck")
    assert record.status == "done"
    assert all(torch.equal(numbers[name], whole[name]) for name in whole)


def test_a_sweep_runs_each_job_in_processes_of_its_own(main: Any, tmp_path: Path) -> None:
    code, out, _ = main("-m", "trainer.devices=2", "trainer.epochs=1", "lr=1e30,0.03")
    assert code == 1
    assert out.count("1 of 2 runs done") == 1
    records = [json.loads(path.read_text()) for path in tmp_path.rglob("result.json")]
    assert sorted(record["status"] for record in records) == ["done", "failed"]


@pytest.mark.parametrize("strategy", [DDPStrategy(), FSDPStrategy()])
def test_what_does_not_suit_a_subspace_is_refused(strategy: Strategy) -> None:
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    trainer._accelerator_connector.strategy = strategy
    callback = SubspaceCallback(d=500, method="said")
    with pytest.raises(UserError) as caught:
        callback.setup(trainer, LightningModule(), "fit")
    (message,) = caught.value.messages
    name = type(strategy).__name__
    assert message.startswith(f"strategy={name}: a subspace trains on one device, or data parallel")
    assert "sharded weights (FSDP, DeepSpeed) are not supported" in message


def test_more_devices_than_there_are_are_refused_before_anything_starts(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    with pytest.raises(UserError) as caught:
        run(compose(tmp_path, "trainer.devices=2"))
    assert caught.value.messages == ("trainer.devices=2: this machine has 1",)
    assert list(tmp_path.iterdir()) == []
