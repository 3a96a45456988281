"""A run killed anywhere, then started again by the same command, ends with the same bits."""

import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file

from said_lightning.config.schema import folder_of
from said_lightning.runs import checkpoint
from said_lightning.runs.record import Record
from said_lightning.training import job

# Twenty steps of one sentence in each epoch, and an evaluation after it.
RUN = ["model.layers=1", "task.train_limit=20", "trainer.batch_size=1", "d=10"]
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


def elsewhere(plain: dict[str, Any], folder: str, environment: dict[str, str]) -> None:
    """The work of a job whose temporary files lie on another file system, as on most clusters."""
    if Path("/dev/shm").is_dir():
        tempfile.tempdir = "/dev/shm"
    job.work(plain, folder, environment)


Make = Callable[[Path], DictConfig]
Whole = tuple[Make, Record]


@pytest.fixture(scope="module")
def whole(request: Any, compose: Any, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A run of so many epochs that nothing strikes, and what makes its config anew."""

    def make(out: Path) -> DictConfig:
        cfg: DictConfig = compose(out, *RUN, f"trainer.epochs={request.param}")
        return cfg

    # The first run compiles, for all that follow.
    _, record = (job.run(make(tmp_path_factory.mktemp("whole"))) for _ in range(2))
    return make, record


def struck(cfg: DictConfig, seconds: float, signum: int) -> float | None:
    """Start a job as a launcher does, signal it, and tell how many seconds it went on.

    None where it had ended before.
    """
    folder = folder_of(cfg)
    folder.mkdir(parents=True)
    job.SERVER.set_forkserver_preload(job.PRELOADED)
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    process = job.SERVER.Process(target=elsewhere, args=(plain, str(folder), dict(os.environ)))
    process.start()
    process.join(seconds)
    if not process.is_alive():
        return None
    os.kill(process.pid or 0, signum)
    clock = time.monotonic()
    process.join()
    return time.monotonic() - clock


KILL, ASK = [signal.SIGKILL], [signal.SIGTERM, signal.SIGUSR2]
IN_FULL = [
    pytest.param(15, signals, 50, dice, marks=pytest.mark.stress)
    for dice, signals in enumerate([KILL] * 4 + [ASK])
]


@pytest.mark.parametrize(
    ("whole", "signals", "times", "dice"),
    [(2, KILL + ASK, 3, 0), *IN_FULL],
    indirect=["whole"],
)
def test_a_run_struck_at_a_random_moment_ends_with_the_bits_of_one_that_was_not(
    whole: Whole,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    signals: list[signal.Signals],
    times: int,
    dice: int,
) -> None:
    make, record = whole
    assert record.folder is not None
    assert record.wall_s is not None
    expected = outcome(record.folder)
    monkeypatch.setattr(job, "work", elsewhere)
    random_moment = random.Random(dice)
    resumed, ended_before, went_on = 0, 0, list[float]()
    while len(went_on) < times:
        cfg = make(tmp_path / "struck")
        seconds = random_moment.uniform(0, record.wall_s)
        after = struck(cfg, seconds, signals[len(went_on) % len(signals)])
        assert_nothing_is_torn(folder_of(cfg))
        resumed += (folder_of(cfg) / checkpoint.FOLDER / checkpoint.STATE).exists()
        assert job.run(cfg).status == "done"
        assert outcome(folder_of(cfg)) == expected, (seconds, after)
        shutil.rmtree(cfg.out)
        if after is None:
            ended_before += 1
        else:
            went_on.append(after)
    print(
        f"{times} of {times} alike, {resumed} of them with a state to resume, "
        f"{max(went_on):.2f} s at most from signal to end; {ended_before} ended before"
    )
