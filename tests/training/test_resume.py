"""A run that was interrupted ends with the very bits of one that was not."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig
from safetensors.torch import load_file

from said_lightning.config import run_folder
from said_lightning.module import Classifier
from said_lightning.runs import checkpoint
from said_lightning.training import run

# What may differ between two runs of the same config.
OF_THE_MOMENT = ("started", "ended", "wall_s", "peak_memory_bytes")
Outcome = tuple[dict[str, Any], str, dict[str, Any]]


def outcome(cfg: DictConfig) -> Outcome:
    """What a run left: its row, its metrics, the bits of what it trained."""
    folder = Path(cfg.out) / run_folder(cfg)
    row = json.loads((folder / "result.json").read_text())
    for key in OF_THE_MOMENT:
        del row[key]
    (file,) = (folder / "checkpoint").glob("*.safetensors")
    bits = {name: tensor.numpy().tobytes() for name, tensor in load_file(file).items()}
    assert not list(folder.rglob("*.tmp"))
    return row, (folder / "metrics.jsonl").read_text(), bits


class Interrupt:
    """Asks the run to stop with a signal, in the n-th call of one of its functions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    def __call__(
        self, place: tuple[Any, str], call: int, signum: int, go: Callable[[], Any]
    ) -> Any:
        owner, name = place
        original, calls = getattr(owner, name), iter(range(1, 10**6))

        def asked(*arguments: Any, **options: Any) -> Any:
            if next(calls) == call:
                os.kill(os.getpid(), signum)
            return original(*arguments, **options)

        with self.monkeypatch.context() as patch:
            patch.setattr(owner, name, asked)
            return go()


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    return Interrupt(monkeypatch)


STEP, EVALUATION = (Classifier, "training_step"), (Classifier, "validation_step")
SAVE = (checkpoint, "save")
VARIANTS = {
    "said": ["method=said"],
    "did": ["method=did", "projection=dense"],
    "head": ["method.head=outside", "trainer.weight_decay=0.1"],
    "full": ["method=full"],
    "drift": ["method.origin=none"],
    "accumulate": ["trainer.accumulate=2", "trainer.batch_size=4"],
    "workers": ["trainer.workers=2"],
    "mixed": ["trainer.precision=bf16-mixed"],
    "lists": ["trainer.save_every=2", "task.metrics=[accuracy,f1]", "trainer.batch_size=4"],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_asked_to_stop_anywhere_ends_with_the_bits_of_one_that_was_not(
    compose: Any, tmp_path: Path, interrupt: Interrupt, variant: str
) -> None:
    options = VARIANTS[variant]
    whole = compose(tmp_path / "whole", *options)
    assert run(whole).status == "done"
    places = [
        (STEP, 1),
        (STEP, 2),
        (STEP, 3),
        (STEP, 4),
        (STEP, 5),
        (EVALUATION, 1),
        (EVALUATION, 2),
    ]
    for index, (place, call) in enumerate(places):
        cfg = compose(tmp_path / str(index), *options)
        stopped = interrupt(place, call, signal.SIGTERM, lambda cfg=cfg: run(cfg))
        assert (stopped.status, stopped.reason) == ("preempted", "SIGTERM")
        assert run(cfg).status == "done"
        assert outcome(cfg) == outcome(whole), (place, call)
