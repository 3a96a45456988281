"""One process a job: whatever becomes of it, the sweep goes on and a row says why."""

import ctypes
import json
import os
import resource
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from said_lightning.config.identity import RunSpec
from said_lightning.training import job
from said_lightning.training.loggers import Sink

SEEDS = {1: "raise", 2: "exit", 3: "kill", 4: "memory", 5: "nan", 6: "hang"}
REASONS = {
    "raise": "RuntimeError: planted",
    "exit": "it exited with code 3",
    "kill": "killed by SIGKILL; perhaps out of memory",
    "memory": "RuntimeError: ",
    "nan": "FloatingPointError: the training loss is nan in epoch 1",
    "hang": "it took longer than timeout=3 seconds",
}


def faulty(spec: RunSpec, *rest: Any) -> None:
    """Do a job's work, with a fault planted in some seeds."""
    from said_lightning.training import run as training

    fault = SEEDS.get(spec.config.seed)
    honest = training.train

    def train(spec: RunSpec, sink: Sink) -> dict[str, Any]:
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
                spec = replace(spec, config=replace(spec.config, lr=1e30))
            case "hang":
                # With the interpreter's lock held: nothing in Python can help.
                ctypes.PyDLL(None).sleep(1000)
        return honest(spec, sink)

    training.train = train
    job.work(spec, *rest)


@pytest.mark.parametrize("runs", [7, pytest.param(20, marks=pytest.mark.stress)])
def test_a_sweep_with_every_kind_of_fault_ends_with_a_row_for_each_and_repeats_those_alone(
    main: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: int
) -> None:
    sweep = ("-m", "method=did", "trainer.epochs=1")
    # The one that hangs has a timeout of its own, which no slow machine makes another exceed.
    others = ",".join(str(seed) for seed in range(runs) if SEEDS.get(seed) != "hang")
    printed = ""
    with monkeypatch.context() as patch:
        patch.setattr(job, "work", faulty)
        for seeds in ([f"seed={others}"], ["seed=6", "timeout=3"]):
            code, out, _ = main(*sweep, *seeds)
            assert code == 1
            printed += out
    assert f"{runs - 6} of {runs - 1} runs done" in printed
    rows = [json.loads(path.read_text()) for path in tmp_path.rglob("result.json")]
    assert len(rows) == runs
    failed = {row["seed"]: row for row in rows if row["status"] == "failed"}
    assert set(failed) == set(SEEDS)
    for seed, fault in SEEDS.items():
        assert failed[seed]["reason"].startswith(REASONS[fault])
        assert failed[seed]["reason"] in printed
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    code, out, _ = main(*sweep, f"seed=range({runs})")
    assert code == 0
    again = {path for path, moment in before.items() if path.stat().st_mtime_ns != moment}
    assert len(again) == 6
    assert f"{runs} of {runs} runs done" in out


def statuses(out: Path) -> list[str]:
    """Return how the runs below a folder stand."""
    return sorted(json.loads(path.read_text())["status"] for path in out.rglob("result.json"))


def test_with_on_error_stop_no_job_starts_after_one_that_failed(main: Any, tmp_path: Path) -> None:
    code, out, _ = main("-m", "method=did", "lr=1e30,1e-3", "trainer.epochs=1", "on_error=stop")
    assert code == 1
    assert "0 of 2 runs done" in out
    assert statuses(tmp_path) == ["failed", "waiting"]
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
    assert statuses(tmp_path) == ["failed", "waiting"]
