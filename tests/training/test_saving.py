"""A run's state is saved when it is due, and before the run ends when asked to."""

import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from said_lightning.runs import checkpoint
from said_lightning.runs.files import Bytes
from said_lightning.training import checkpointing
from said_lightning.training.module import Classifier
from said_lightning.training.run import run

STEP, EVALUATION = (Classifier, "training_step"), (Classifier, "validation_step")


@pytest.fixture
def saved_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let each step take ten seconds, and return the steps after which states are saved."""
    now, steps = [0.0], list[int]()
    save, step = checkpoint.save, Classifier.training_step

    def saved(folder: Path, *parts: Bytes) -> None:
        save(folder, *parts)
        steps.append(checkpoint.progress(folder)[0])

    def ten_seconds(*arguments: Any, **options: Any) -> Any:
        now[0] += 10
        return step(*arguments, **options)

    monkeypatch.setattr(checkpointing, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(checkpoint, "save", saved)
    monkeypatch.setattr(Classifier, "training_step", ten_seconds)
    return steps


@pytest.mark.parametrize(
    ("place", "call"), [(STEP, 3), (EVALUATION, 1)], ids=["step", "evaluation"]
)
@pytest.mark.parametrize("option", ["method=full", "method.origin=none"])
def test_a_run_that_would_lose_an_epoch_ends_it_before_it_stops(
    compose: Any, tmp_path: Path, interrupt: Any, option: str, place: Any, call: int
) -> None:
    spec = compose(tmp_path, option)
    stopped = interrupt(place, call, signal.SIGTERM, partial(run, spec))
    assert (stopped.status, stopped.reason) == ("preempted", "SIGTERM")
    assert checkpoint.progress(spec.folder / checkpoint.FOLDER) == (3, 6)
    assert len((spec.folder / "metrics.jsonl").read_text().splitlines()) == 1
    assert run(spec).status == "done"


@pytest.mark.parametrize(("rows", "accumulate"), [(8, 1), (3, 3)])
def test_a_subspace_run_asked_to_stop_saves_at_once_and_loses_at_most_an_epochs_last_step(
    compose: Any, tmp_path: Path, interrupt: Any, rows: int, accumulate: int
) -> None:
    spec = compose(tmp_path, f"trainer.batch_size={rows}", f"trainer.accumulate={accumulate}")
    for place, call, saved in [
        (STEP, 1, 1),  # in the first step
        (STEP, accumulate + 1, 2),  # after the second: in the epoch's last
        (EVALUATION, 1, 2),
        (STEP, accumulate + 1, 4),  # after the last: in the second epoch
    ]:
        stopped = interrupt(place, call, signal.SIGTERM, partial(run, spec))
        assert (stopped.status, stopped.reason) == ("preempted", "SIGTERM")
        assert checkpoint.progress(spec.folder / checkpoint.FOLDER) == (saved, 6)
    assert run(spec).status == "done"


# Of two epochs of eleven steps, ten seconds each.
SAVES = {
    "trainer.save_every=0": list(range(1, 23)),
    "trainer.save_every=25": [3, 6, 9, 10, 11, 14, 17, 20, 21, 22],
    "trainer.save_every=1000": [10, 11, 21, 22],
    "method=full": [11, 22],
    "method.origin=none": [11, 22],
}


@pytest.mark.parametrize("option", SAVES)
def test_a_run_is_saved_in_time_before_each_epochs_last_step_and_after_it(
    compose: Any, tmp_path: Path, saved_steps: list[int], option: str
) -> None:
    assert run(compose(tmp_path, "trainer.batch_size=2", option)).status == "done"
    assert saved_steps == SAVES[option]


def test_several_processes_save_when_the_first_ones_clock_says(
    compose: Any, tmp_path: Path, saved_steps: list[int], on_the_cpu: None
) -> None:
    # The other process's clock is the real one, by which nothing would be due in an epoch.
    options = ["trainer.devices=2", "trainer.batch_size=1", "trainer.save_every=25"]
    assert run(compose(tmp_path, *options)).status == "done"
    assert saved_steps == SAVES["trainer.save_every=25"]


def test_nothing_that_a_run_leaves_is_pickled(compose: Any, tmp_path: Path, interrupt: Any) -> None:
    for method in ("full", "said"):
        spec = compose(tmp_path / method, f"method={method}")
        interrupt(STEP, 5, signal.SIGTERM, partial(run, spec))
        files = [path for path in (tmp_path / method).rglob("*") if path.is_file()]
        assert any(path.name == checkpoint.STATE for path in files)
        # A pickle is a zip file in torch's format, or starts with its protocol's mark.
        assert not [path for path in files if path.read_bytes()[:2] in (b"PK", b"\x80\x02")]
