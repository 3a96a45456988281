import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from said_lightning.cli.app import app
from said_lightning.runs.lease import FILE, SECONDS, held, lease
from said_lightning.runs.record import Record, Status, write
from said_lightning.runs.status import left, show


def leave_a_lease(folder: Path) -> None:
    """Take the lease on a folder in a process that is killed while it holds it."""
    program = (
        "import os, sys; from pathlib import Path; from said_lightning.runs.lease import lease\n"
        "own = lease(Path(sys.argv[1])); own.acquire(); print('held', flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True
    )
    assert (ended.stdout, ended.returncode) == ("held\n", -9)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Six runs: done, failed, preempted, cut off, running, waiting."""
    states: dict[str, tuple[Status, str | None]] = {
        "a-done": ("done", None),
        "b-failed": ("failed", "killed by SIGKILL"),
        "c-preempted": ("preempted", "SIGTERM"),
        "d-cut": ("waiting", None),
        "e-running": ("waiting", None),
        "f-waiting": ("waiting", None),
    }
    for seed, (name, (state, reason)) in enumerate(states.items()):
        (tmp_path / name).mkdir()
        record = Record(
            status=state,
            reason=reason,
            model="m",
            task="t",
            method="did",
            seed=seed,
            wall_s=None if state == "waiting" else 60.0,
        )
        write(record, tmp_path / name)
        (tmp_path / name / "train.log").touch()
    leave_a_lease(tmp_path / "d-cut")
    return tmp_path


def test_status_shows_every_state_with_reasons_and_logs(sweep: Path) -> None:
    with lease(sweep / "e-running"):
        result = CliRunner().invoke(app, ["status", str(sweep)])
    assert result.exit_code == 0, result.output
    assert "6 runs: 1 done, 1 running, 1 failed, 2 preempted, 1 waiting; about 0:04:00" in (
        result.stdout
    )
    assert "a-done" not in result.stdout
    lines = result.stdout.splitlines()
    (failed,) = (index for index, line in enumerate(lines) if line.startswith("failed"))
    assert "killed by SIGKILL" in lines[failed]
    assert str(sweep / "b-failed" / "train.log") in lines[failed + 1]
    assert "cut off; the same command resumes it" in result.stdout


def test_no_end_is_estimated_where_nothing_runs(sweep: Path) -> None:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(show(sweep))
    assert "left" not in captured.get()
    assert left([]) == ""


def test_a_lease_whose_holder_was_killed_is_not_held(tmp_path: Path) -> None:
    leave_a_lease(tmp_path)
    assert os.listdir(tmp_path) == [".lease"]
    assert not held(tmp_path)
    with lease(tmp_path).acquire(timeout=5):
        assert held(tmp_path)
    assert not held(tmp_path)


def test_a_lease_not_heard_of_is_not_held_though_another_process_has_its_pid(
    tmp_path: Path,
) -> None:
    own = lease(tmp_path)
    own.acquire()
    marker = (tmp_path / FILE).read_text()
    assert str(os.getpid()) in marker
    own.release()
    (tmp_path / FILE).write_text(marker)
    assert held(tmp_path)
    long_ago = time.time() - 2 * SECONDS
    os.utime(tmp_path / FILE, (long_ago, long_ago))
    assert not held(tmp_path)


def test_status_needs_no_torch(sweep: Path) -> None:
    program = """
import runpy, sys
sys.argv = ["said", "status", sys.argv[1]]
try:
    runpy.run_module("said_lightning.cli", run_name="__main__")
finally:
    print("imported:", *{"torch", "transformers", "pytorch_lightning"} & set(sys.modules))
"""
    command = [sys.executable, "-c", program, str(sweep)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.endswith("imported:\n")
    assert json.dumps("torch") not in ended.stderr
