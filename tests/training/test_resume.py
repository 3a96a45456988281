"""A run that was interrupted ends with the very bits of one that was not."""

import json
import random
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from said_lightning.config.identity import RunSpec
from said_lightning.errors import UserError
from said_lightning.runs import checkpoint
from said_lightning.training.checkpointing import Saver
from said_lightning.training.module import Classifier
from said_lightning.training.run import run

# What may differ between two runs of the same config.
OF_THE_MOMENT = ("started", "ended", "wall_s", "peak_memory_bytes")
Outcome = tuple[dict[str, Any], str, dict[str, Any]]


def outcome(spec: RunSpec) -> Outcome:
    """Return what a run left: its row, its metrics, the bits of what it trained."""
    folder = spec.folder
    row = json.loads((folder / "result.json").read_text())
    for key in OF_THE_MOMENT:
        del row[key]
    (file,) = (folder / "checkpoint").glob("*.safetensors")
    bits = {name: tensor.numpy().tobytes() for name, tensor in load_file(file).items()}
    assert not list(folder.rglob("*.tmp"))
    return row, (folder / "metrics.jsonl").read_text(), bits


STEP, EVALUATION = (Classifier, "training_step"), (Classifier, "validation_step")
EPOCH = (Saver, "on_train_epoch_end")
VARIANTS = {
    "said": ["method=said"],
    "did": ["method=did", "projection=dense"],
    "head": ["method.head=outside", "trainer.weight_decay=0.1"],
    "full": ["method=full"],
    "drift": ["method.origin=none"],
    "matrices": ["projection=kronecker"],
    "standing": ["projection=kronecker", "method.origin=none"],
    "quantized": ["projection=kronecker", "method.quantize=nf4"],
    "adapter": ["method=unilora", "trainer.save_every=0", "trainer.weight_decay=0.1"],
    "frozen": ["method=vera", "method.peft.head=frozen"],
    "accumulate": ["trainer.accumulate=2", "trainer.batch_size=4"],
    "workers": ["trainer.workers=2"],
    "mixed": ["trainer.precision=bf16-mixed"],
    "nested": ["d=200", "trainer.grow_from=20"],
    "lists": ["trainer.save_every=0", "task.metrics=[accuracy,f1]", "trainer.batch_size=4"],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_asked_to_stop_anywhere_ends_with_the_bits_of_one_that_was_not(
    compose: Any, tmp_path: Path, interrupt: Any, variant: str
) -> None:
    options = VARIANTS[variant]
    whole = compose(tmp_path / "whole", *options)
    assert run(whole).status == "done"
    spec = compose(tmp_path / "stopped", *options)
    # Inside the first epoch, in its evaluation, and inside the second.
    for place, call in [(STEP, 2), (EVALUATION, 1), (STEP, 3)]:
        stopped = interrupt(place, call, signal.SIGTERM, partial(run, spec))
        assert (stopped.status, stopped.reason) == ("preempted", "SIGTERM")
    assert run(spec).status == "done"
    assert outcome(spec) == outcome(whole)


def test_a_run_killed_after_the_epoch_that_met_stop_at_trains_no_further(
    compose: Any, tmp_path: Path, interrupt: Any
) -> None:
    options = ("trainer.stop_at=0.01", "trainer.epochs=3")
    whole, spec = (compose(tmp_path / name, *options) for name in ("whole", "killed"))
    record = run(whole)
    assert record.last is not None
    assert record.last.epoch == 1
    interrupt(EPOCH, 1, signal.SIGTERM, partial(run, spec))
    assert checkpoint.progress(spec.folder / checkpoint.FOLDER) == (3, 9)
    assert run(spec).status == "done"
    assert outcome(spec) == outcome(whole)


def test_a_state_that_cannot_be_saved_is_reported_once_and_training_goes_on(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, spec = compose(tmp_path / "whole"), compose(tmp_path / "full")
    run(whole)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", full)
        assert run(spec).status == "done"
    found = [message for message in caplog.messages if "cannot be saved" in message]
    assert found == [
        "the state cannot be saved, training goes on without: [Errno 28] No space left on device"
    ]
    assert outcome(spec) == outcome(whole)


@pytest.mark.parametrize("broken", [1, 2])
def test_a_broken_state_gives_way_to_the_one_before_or_to_the_start(
    compose: Any, tmp_path: Path, interrupt: Any, broken: int
) -> None:
    whole, spec = compose(tmp_path / "whole"), compose(tmp_path / "broken")
    run(whole)
    interrupt(STEP, 5, signal.SIGUSR2, lambda: run(spec))
    states = spec.folder / "checkpoint"
    for name in (checkpoint.STATE, checkpoint.PREVIOUS)[:broken]:
        (states / name).write_bytes((states / name).read_bytes()[:-1])
    run(spec)
    assert outcome(spec) == outcome(whole)


@pytest.mark.parametrize("flips", [3, pytest.param(500, marks=pytest.mark.stress)])
def test_a_run_with_a_byte_of_a_state_flipped_ends_with_the_bits_of_one_that_has_none(
    compose: Any, tmp_path: Path, interrupt: Any, flips: int
) -> None:
    options = ["trainer.save_every=0", "trainer.epochs=1", "trainer.batch_size=4"]
    whole, spec = (compose(tmp_path / name, *options) for name in ("whole", "flipped"))
    run(whole)
    interrupt(STEP, 4, signal.SIGTERM, partial(run, spec))
    kept = shutil.copytree(spec.folder, tmp_path / "kept")
    states = [spec.folder / checkpoint.FOLDER / n for n in (checkpoint.STATE, checkpoint.PREVIOUS)]
    dice = random.Random(0)
    for _ in range(flips):
        shutil.rmtree(spec.folder)
        shutil.copytree(kept, spec.folder)
        flipped, good = dice.sample(states, 2)
        content = bytearray(flipped.read_bytes())
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        flipped.write_bytes(content)
        assert checkpoint.latest(states[0].parent) == good
        run(spec)
        assert outcome(spec) == outcome(whole)
    print(f"{flips} of {flips} alike")


def test_other_threads_are_reported_as_not_bit_exact(
    compose: Any, tmp_path: Path, interrupt: Any
) -> None:
    spec = compose(tmp_path)
    interrupt(STEP, 2, signal.SIGTERM, lambda: run(spec))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        record = run(spec)
    finally:
        torch.set_num_threads(threads)
    assert record.notes == [f"resumed, not bit-exact: threads {threads}, then {threads + 1}"]


def test_a_folder_with_another_config_is_refused_and_each_key_is_named(
    compose: Any, tmp_path: Path, interrupt: Any
) -> None:
    spec = compose(tmp_path)
    interrupt(STEP, 2, signal.SIGTERM, lambda: run(spec))
    config = spec.folder / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("batch_size: 8", "batch_size: 4").replace("seed: 0", "seed: 1"))
    with pytest.raises(UserError) as caught:
        run(spec)
    keys = [message.split(": ")[1] for message in caught.value.messages]
    assert keys == ["seed=1", "trainer.batch_size=4"]
    assert "expected 8" in caught.value.messages[1]


def test_a_state_of_other_data_or_another_model_is_refused_and_kept(
    compose: Any, tmp_path: Path, interrupt: Any, encoder: Path, glue: Path
) -> None:
    data, model = shutil.copytree(glue, tmp_path / "data"), tmp_path / "model"
    shutil.copytree(encoder, model)
    weights, rows = model / "model.safetensors", data / "SST-2" / "train.tsv"
    spec = compose(tmp_path / "out", f"task.data_dir={data}", f"model.path={model}")
    interrupt(STEP, 2, signal.SIGTERM, lambda: run(spec))
    for file, key in [(rows, "data_sha256"), (weights, "model_sha256")]:
        before = file.read_bytes()
        if file is rows:
            file.write_bytes(before.replace(b"film", b"plot"))
        else:
            save_file({name: part + 1 for name, part in load_file(file).items()}, file)
        with pytest.raises(UserError) as caught:
            run(spec)
        (message,) = caught.value.messages
        assert f"checkpoint: {key}=" in message
        file.write_bytes(before)
    assert run(spec).status == "done"
    whole = compose(tmp_path / "whole", f"task.data_dir={data}", f"model.path={model}")
    run(whole)
    assert outcome(spec) == outcome(whole)
