"""A run killed anywhere, then started again by the same command, ends with the same bits."""

import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from itertools import product
from multiprocessing import active_children
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from said_lightning.config.identity import RunSpec
from said_lightning.runs import checkpoint
from said_lightning.runs.record import Record
from said_lightning.training import job

# Twenty steps of one sentence in each epoch, and an evaluation after it.
RUN = ["model.layers=1", "task.train_limit=20", "trainer.batch_size=1", "d=10"]
OF_THE_MOMENT = ("started", "ended", "wall_s", "peak_memory_bytes")


def outcome(folder: Path) -> tuple[Any, ...]:
    """Return the row, the metrics and the bits that a run left."""
    row = json.loads((folder / "result.json").read_text())
    assert row["status"] == "done", row
    kept = {key: value for key, value in row.items() if key not in OF_THE_MOMENT}
    numbers = load_file(folder / "checkpoint" / "subspace.safetensors")
    bits = {name: tensor.numpy().tobytes() for name, tensor in numbers.items()}
    return kept, (folder / "metrics.jsonl").read_text(), bits


def assert_nothing_is_torn(folder: Path) -> None:
    """Assert that every file that a killed run left is whole, and at most one is stray."""
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


def elsewhere(*arguments: Any) -> None:
    """Do a job's work with temporary files on another file system, as on most clusters."""
    if Path("/dev/shm").is_dir():
        tempfile.tempdir = "/dev/shm"
    job.work(*arguments)


Make = Callable[..., RunSpec]
Whole = tuple[Make, Record]


@pytest.fixture(scope="module")
def whole(request: Any, compose: Any, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Return what makes a spec of the epochs asked for, and a run of it that nothing strikes."""

    def make(out: Path, *options: str) -> RunSpec:
        spec: RunSpec = compose(out, *RUN, f"trainer.epochs={request.param}", *options)
        return spec

    # The first run compiles, for all that follow.
    _, record = (job.run(make(tmp_path_factory.mktemp("whole"))) for _ in range(2))
    return make, record


def struck(spec: RunSpec, seconds: float, signum: int) -> float | None:
    """Start a job, signal its process, and return how many seconds it went on.

    None where it had ended before.
    """
    supervisor = Thread(target=job.run, args=(spec,))
    supervisor.start()
    # A run whose process was killed once its result was written has no other.
    while not (workers := active_children()) and supervisor.is_alive():
        time.sleep(0.001)
    after = None
    if workers and not wait([(worker := workers[0]).sentinel], seconds):
        os.kill(worker.pid or 0, signum)
        clock = time.monotonic()
        wait([worker.sentinel])
        after = time.monotonic() - clock
    supervisor.join()
    return after


KILL, ASK = [signal.SIGKILL], [signal.SIGTERM, signal.SIGUSR2]
# Saved after every step, and at moments that no step knows of.
EVERY = (0.0, 0.02)
IN_FULL = [
    pytest.param(10, signals, every, 25, dice, marks=pytest.mark.stress)
    for dice, (signals, every) in enumerate([*product([KILL] * 4 + [ASK], EVERY)])
]


@pytest.mark.parametrize(
    ("whole", "signals", "every", "times", "dice"),
    [(2, KILL + ASK, EVERY[1], 3, 0), *IN_FULL],
    indirect=["whole"],
)
def test_a_run_struck_at_random_moments_ends_with_the_bits_of_one_that_was_not(
    whole: Whole,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    signals: list[signal.Signals],
    every: float,
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
        spec = make(tmp_path / "struck", f"trainer.save_every={every}")
        moments = list[float]()
        # One run is struck up to five times before it may end.
        for _ in range(min(5, times - len(went_on))):
            moments.append(random_moment.uniform(0, record.wall_s))
            after = struck(spec, moments[-1], signals[len(went_on) % len(signals)])
            assert_nothing_is_torn(spec.folder)
            if after is None:
                ended_before += 1
                break
            went_on.append(after)
            resumed += (spec.folder / checkpoint.FOLDER / checkpoint.STATE).exists()
        assert job.run(spec).status == "done"
        assert outcome(spec.folder) == expected, moments
        shutil.rmtree(spec.out)
    print(
        f"save_every={every}: {times} times {'/'.join(s.name for s in signals)}, all alike; "
        f"{resumed} left a state to resume; {max(went_on):.2f} s at most from signal to end; "
        f"{ended_before} runs ended before"
    )
