"""One process a job: whatever becomes of it, the sweep goes on and a row tells why."""

import ctypes
import json
import os
import resource
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from said_lightning.training import job

SEEDS = {1: "raise", 2: "exit", 3: "kill", 4: "memory", 5: "nan", 6: "hang"}
REASONS = {
    "raise": "RuntimeError: planted",
    "exit": "it exited with code 3",
    "kill": "killed by SIGKILL; perhaps out of memory",
    "memory": "RuntimeError: ",
    "nan": "FloatingPointError: the training loss is nan in epoch 1",
    "hang": "it took longer than timeout=20 seconds",
}


def faulty(plain: dict[str, Any], folder: str, environment: dict[str, str]) -> None:
    """The work of a job, with a fault planted in some seeds."""
    from said_lightning.training import run as training

    fault = SEEDS.get(plain["seed"])
    honest = training.train

    def train(cfg: DictConfig, folder: Path) -> dict[str, Any]:
        match fault:
            case "raise":
                raise RuntimeError("planted")
            case "exit":
                sys.exit(3)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "memory":
                resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
                torch.empty(2**34)
            case "nan":
                cfg.lr = 1e30
            case "hang":
                # With the interpreter's lock held: nothing in Python can help.
                ctypes.PyDLL(None).sleep(1000)
        return honest(cfg, folder)

    training.train = train
    job.work(plain, folder, environment)


@pytest.mark.parametrize("runs", [8, pytest.param(20, marks=pytest.mark.stress)])
def test_a_sweep_with_every_kind_of_fault_ends_with_a_row_for_each_and_repeats_those_alone(
    main: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: int
) -> None:
    # The first job imports and compiles, which may take longer than any may hang.
    main("method=did", "seed=0", "trainer.epochs=1")
    sweep = ("-m", "method=did", f"seed=range({runs})", "trainer.epochs=1", "timeout=20")
    with monkeypatch.context() as patch:
        patch.setattr(job, "work", faulty)
        code, out, _ = main(*sweep)
    assert code == 1
    assert f"{runs - 6} of {runs} runs done" in out
    rows = [json.loads(path.read_text()) for path in tmp_path.rglob("result.json")]
    assert len(rows) == runs
    failed = {row["seed"]: row for row in rows if row["status"] == "failed"}
    assert set(failed) == set(SEEDS)
    for seed, fault in SEEDS.items():
        assert failed[seed]["reason"].startswith(REASONS[fault])
        assert failed[seed]["reason"] in out
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    code, out, _ = main(*sweep)
    assert code == 0
    again = {path for path, moment in before.items() if path.stat().st_mtime_ns != moment}
    assert len(again) == 6
    assert f"{runs} of {runs} runs done" in out


def test_with_on_error_stop_no_job_starts_after_one_that_failed(main: Any, tmp_path: Path) -> None:
    code, out, _ = main("-m", "method=did", "lr=1e30,1e-3", "trainer.epochs=1", "on_error=stop")
    assert code == 1
    assert "0 of 2 runs done" in out
    assert len(list(tmp_path.rglob("result.json"))) == 1
    code, out, _ = main("-m", "method=did", "lr=1e30,1e-3", "trainer.epochs=1")
    assert "1 of 2 runs done" in out


def test_wrong_data_are_a_failure_too_after_which_no_job_starts(
    main: Any, tmp_path: Path, glue: Path
) -> None:
    data = shutil.copytree(glue, tmp_path / "data")
    (data / "SST-2" / "train.tsv").write_text("sentence\tlabel\nfine\tone\n")
    sweep = ("-m", "method=did", f"task.data_dir={data}", "seed=0,1", "on_error=stop")
    code, out, _ = main(*sweep)
    assert code == 2
    assert "0 of 2 runs done" in out
    assert len(list(tmp_path.rglob("result.json"))) == 1
