import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import numpy as safetensors

from said_lightning.errors import UserError
from said_lightning.runs import checkpoint

Fault = Callable[[pytest.MonkeyPatch], None]


def content(number: int) -> bytes:
    """Return a small state that holds a number."""
    import numpy

    metadata = {checkpoint.KEY: checkpoint.UNSEALED, "progress": f"[{number}, 9]"}
    return safetensors.save({"theta": numpy.full(50, number, dtype="f4")}, metadata)


def number(path: Path | None) -> float | None:
    """Return the number that a state holds, None where there is none."""
    return None if path is None else float(safetensors.load(checkpoint.read(path))["theta"][0])


@pytest.fixture
def states(tmp_path: Path) -> Path:
    """Three saves, of which the last two stand."""
    for index in (1, 2, 3):
        checkpoint.save(tmp_path, content(index))
    return tmp_path


def test_the_two_newest_states_stand_and_the_newest_is_used(states: Path) -> None:
    assert sorted(os.listdir(states)) == [checkpoint.PREVIOUS, checkpoint.STATE]
    assert number(checkpoint.latest(states)) == 3
    assert number(states / checkpoint.PREVIOUS) == 2
    assert checkpoint.progress(states) == (3, 9)


@pytest.mark.parametrize("trials", [60, pytest.param(500, marks=pytest.mark.stress)])
def test_a_state_flipped_cut_or_lengthened_anywhere_is_found_and_the_one_before_is_used(
    states: Path, trials: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = states / checkpoint.STATE
    good = path.read_bytes()
    dice = random.Random(0)
    for trial in range(trials):
        offset = dice.randrange(len(good))
        bad = bytearray(good)
        match trial % 3:
            case 0:
                bad[offset] ^= 1 << dice.randrange(8)
            case 1:
                del bad[offset:]
            case 2:
                bad.insert(offset, dice.randrange(256))
        path.write_bytes(bad)
        caplog.clear()
        assert number(checkpoint.latest(states)) == 2
        assert "a broken checkpoint, not used" in caplog.text
        with pytest.raises((ValueError, OSError, UserError)):
            number(path)


def test_with_both_states_broken_there_is_none(states: Path) -> None:
    for name in (checkpoint.STATE, checkpoint.PREVIOUS):
        (states / name).write_bytes(b"")
    assert checkpoint.latest(states) is None


def full(patch: pytest.MonkeyPatch) -> None:
    """Leave no space after the first bytes."""
    original = Path.open

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: Any) -> None:
            self.file.close()

        def write(self, part: Any) -> int:
            if self.file.tell():
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(part[:10])

    patch.setattr(Path, "open", lambda *args, **options: Full(original(*args, **options)))


def broken(patch: pytest.MonkeyPatch) -> None:
    """Let the disk fail to answer."""

    def fsync(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    patch.setattr(os, "fsync", fsync)


def read_only(patch: pytest.MonkeyPatch) -> None:
    """Refuse to create any file."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    patch.setattr(Path, "open", refuse)


FAULTS = [full, broken, read_only]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_save_that_fails_leaves_the_states_before_and_no_stray_file(
    states: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    with monkeypatch.context() as patch:
        fault(patch)
        with pytest.raises(OSError, match=r"No space|Input/output|Read-only"):
            checkpoint.save(states, content(4))
    assert sorted(os.listdir(states)) == [checkpoint.PREVIOUS, checkpoint.STATE]
    assert number(checkpoint.latest(states)) == 3
