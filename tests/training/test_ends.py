"""Whatever raises around the jobs of a command, its exit code is right and its reason is shown."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hydra.core.plugins import Plugins

from said_lightning.errors import UserError
from said_lightning.runs import files, record
from said_lightning.training import job

ROOT = Path(__file__).parents[2]
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "result.json")


# Hydra imports its plugins by itself.
CLASSES = Plugins.instance().class_name_to_class
LAUNCHER: Any = CLASSES["hydra._internal.core_plugins.basic_launcher.BasicLauncher"]
SWEEPER: Any = CLASSES["hydra._internal.core_plugins.basic_sweeper.BasicSweeper"]


def raising(error: Exception) -> Any:
    """Return a function that raises."""

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise error

    return fail


@pytest.fixture
def search(main: Any, tiny: list[str]) -> Any:
    """Run a search of one series; the tiny jobs' own d is the search's to choose."""
    tiny_d = next(one for one in tiny if one.startswith("d="))

    def start() -> Any:
        tiny.remove(tiny_d)
        try:
            return main("-m", "hydra/sweeper=d90", "hydra.sweeper.high=2000", "method=did")
        finally:
            tiny.append(tiny_d)

    return start


def test_a_search_that_raises_before_its_first_run_is_exit_code_1_with_the_reason(
    search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("said_lightning.search.study.search", raising(ValueError("no such rate")))
    ended = search()
    assert ended.code == 1
    assert "not all was run: no such rate" in ended.err
    assert "Traceback" not in ended.err


def test_a_launcher_that_raises_in_a_search_is_exit_code_1_with_the_reason(
    search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LAUNCHER, "launch", raising(RuntimeError("the queue is closed")))
    ended = search()
    assert ended.code == 1
    assert "not all was run: the queue is closed" in ended.err


def test_a_sweeper_that_refuses_its_input_is_exit_code_2(
    main: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SWEEPER, "sweep", raising(UserError("hydra.sweeper: no such thing")))
    ended = main("-m", "seed=0,1")
    assert (ended.code, ended.err) == (2, "hydra.sweeper: no such thing\n")
    assert ended.out.splitlines()[0] == "0 of 2 runs done"
    assert all(line.endswith(": waiting") for line in ended.out.splitlines()[1:])


def test_a_sweeper_that_raises_once_all_is_done_is_exit_code_1(
    main: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = SWEEPER.sweep

    def late(self: Any, arguments: Any) -> NoReturn:
        sweep(self, arguments)
        raise RuntimeError

    monkeypatch.setattr(SWEEPER, "sweep", late)
    ended = main("-m", "seed=0,1", "trainer.epochs=1")
    assert "2 of 2 runs done" in ended.out
    assert ended.code == 1
    assert "not all was run: RuntimeError" in ended.err


@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_a_job_that_raises_before_it_begins_is_exit_code_1_with_the_reason(
    main: Any, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    monkeypatch.setattr(job, "supervised", raising(FULL))
    ended = main(*flags)
    assert ended.code == 1
    assert f"not all was run: {FULL}" in ended.err
    assert "0 of 1 runs done" in ended.out


def test_a_disk_that_fills_while_runs_are_planned_is_one_line(
    main: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "write_beside", raising(FULL))
    ended = main("-m", "seed=0,1")
    (line,) = ended.err.splitlines()
    assert ended.code == 2
    assert line.startswith(str(tmp_path / "out"))
    assert line.endswith("cannot be written: No space left on device")


def test_a_disk_that_is_full_is_known_before_anything_is_written(
    main: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = os.statvfs_result((4096, 4096, 1000, 0, 0, 1000, 10, 10, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    ended = main()
    assert (ended.code, ended.err) == (2, f"out={tmp_path / 'out'}: no space is left on its disk\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", ["x" * 256, "ü" * 128, "/".join(["x" * 200] * 20)])
def test_a_path_that_no_file_system_takes_is_refused(main: Any, tmp_path: Path, part: str) -> None:
    ended = main(f"out='{tmp_path}/{part}'")
    assert ended.code == 2
    assert "too long a path" in ended.err


@pytest.mark.parametrize("text", ["[bold]", "a\udcffb", "\x1b[31m", "a\nb", "", "{0}", "\0"])
def test_a_reason_of_any_text_is_recorded_and_shown(
    main: Any, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    def fail(spec: Any, *_: Any) -> Any:
        facts: Any = {"status": "failed", "reason": text}
        record.write(record.Record(**spec.labels, **facts), spec.folder)
        return record.read(spec.folder / record.RESULT)

    monkeypatch.setattr(job, "supervised", fail)
    ended = main()
    assert ended.code == 1
    assert "0 of 1 runs done" in ended.out
    assert ended.out.replace("\n", "").isprintable()


def test_a_command_with_chdir_and_a_home_writes_where_it_was_given_alone(
    tiny: list[str], tmp_path: Path
) -> None:
    for folder in ("home", "here"):
        (tmp_path / folder).mkdir()
    command = [sys.executable, str(ROOT / "train.py"), "-m", *tiny, "trainer.epochs=1", "seed=0,1"]
    ended = subprocess.run(
        [*command, "hydra.job.chdir=true", "out='~/out'"],
        capture_output=True,
        text=True,
        cwd=tmp_path / "here",
        env={**os.environ, "HOME": str(tmp_path / "home")},
    )
    assert ended.returncode == 0, ended.stderr
    assert "2 of 2 runs done" in ended.stdout
    assert list((tmp_path / "here").iterdir()) == []
    assert len(list((tmp_path / "home" / "out").glob("tiny/sst2/*/result.json"))) == 2
