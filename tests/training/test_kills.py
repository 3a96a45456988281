"""A run killed anywhere, then started again by the same command, ends with the same bits."""

import json
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file

from said_lightning import job
from said_lightning.config import folder_of
from said_lightning.runs import checkpoint

# 300 steps of one or two sentences, and 25 evaluations.
RUN = ["method=said", "trainer.batch_size=2", "trainer.epochs=25", "d=10"]
OF_THE_MOMENT = ("started", "ended", "wall_s", "peak_memory_bytes")


def outcome(folder: Path) -> tuple[Any, ...]:
    """The row, the metrics and the bits that a run left."""
    row = json.loads((folder / "result.json").read_text())
    assert row["status"] == "done", row
    kept = {key: value for key, value in row.items() if key not in OF_THE_MOMENT}
    numbers = load_file(folder / "checkpoint" / "subspace.safetensors")
    bits = {name: tensor.numpy().tobytes() for name, tensor in numbers.items()}
    return kept, (folder / "metrics.jsonl").read_text(), bits


def assert_nothing_is_torn(folder: Path) -> None:
    """Every file that a killed run left is whole, and at most one is stray."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        match path.suffix:
            case ".json":
                json.loads(path.read_text())
            case ".jsonl":
                assert all(json.loads(line) for line in path.read_text().splitlines())
            case ".yaml":
                assert yaml.safe_load(path.read_text())["seed"] == 0
            case ".safetensors" if path.name in (checkpoint.STATE, checkpoint.PREVIOUS):
                checkpoint.read(path)
    assert len(list(folder.rglob("*.tmp"))) <= 1


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files lie on another file system, as on most clusters."""
    if Path("/dev/shm").is_dir():
        monkeypatch.setenv("TMPDIR", "/dev/shm")
        monkeypatch.setattr(tempfile, "tempdir", None)


def struck(cfg: DictConfig, seconds: float, signum: int) -> float:
    """Start a job as a launcher does, signal it, and tell how many seconds it went on."""
    folder = folder_of(cfg)
    folder.mkdir(parents=True)
    job.SERVER.set_forkserver_preload(job.PRELOADED)
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    process = job.SERVER.Process(target=job.work, args=(plain, str(folder), {}))
    process.start()
    process.join(seconds)
    if process.is_alive():
        os.kill(process.pid or 0, signum)
    clock = time.monotonic()
    process.join()
    return time.monotonic() - clock


KILL, ASK = [signal.SIGKILL], [signal.SIGTERM, signal.SIGUSR2]


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("signals", "times"),
    [
        (KILL, 3),
        (ASK, 2),
        pytest.param(KILL, 200, marks=pytest.mark.stress),
        pytest.param(ASK, 50, marks=pytest.mark.stress),
    ],
)
def test_a_run_struck_at_a_random_moment_ends_with_the_bits_of_one_that_was_not(
    compose: Any, tmp_path: Path, signals: list[signal.Signals], times: int
) -> None:
    whole = job.run(compose(tmp_path / "whole", *RUN))
    assert whole.folder is not None
    assert whole.wall_s is not None
    expected = outcome(whole.folder)
    dice = random.Random(0)
    resumed, slowest = 0, 0.0
    for index in range(times):
        cfg = compose(tmp_path / str(index), *RUN)
        moment = dice.uniform(0, 1.1 * whole.wall_s)
        slowest = max(slowest, struck(cfg, moment, signals[index % len(signals)]))
        assert_nothing_is_torn(folder_of(cfg))
        resumed += (folder_of(cfg) / checkpoint.FOLDER / checkpoint.STATE).exists()
        assert job.run(cfg).status == "done"
        assert outcome(folder_of(cfg)) == expected, index
        shutil.rmtree(tmp_path / str(index))
    assert resumed or times < 5
    print(f"{times} of {times} alike, {resumed} with a state; {slowest:.2f} s at most to the end")
