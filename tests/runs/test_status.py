import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from said_lightning.cli.app import app
from said_lightning.runs.lease import FILE, lease
from said_lightning.runs.record import RESULT, Group, Record, Status, write
from said_lightning.runs.status import left, show
from tests.pace import FILES, SAID, spent


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
    (tmp_path / "d-cut" / FILE).touch()
    os.utime(tmp_path / "d-cut" / FILE, (0, 0))
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


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("labels [no, yes] in [bold]yaml[/bold]", "labels [no, yes] in [bold]yaml[/bold]"),
        ("nothing to close [/] or [/red]", "nothing to close [/] or [/red]"),
        ("[link=http://x]here[/link] :smile:", "[link=http://x]here[/link] :smile:"),
        ("\x1b[2J\x1b]0;title\x07 gone\r", r"\x1b[2J\x1b]0;title\x07 gone"),
        ("a\nfailed  other/run", "a"),
    ],
)
@pytest.mark.parametrize("terminal", [False, True])
def test_a_reason_is_shown_as_text(tmp_path: Path, reason: str, shown: str, terminal: bool) -> None:
    record = Record(status="failed", reason=reason, model="m", task="t", method="did", seed=0)
    write(record, tmp_path)
    console = Console(width=120, force_terminal=terminal, color_system=None)
    with console.capture() as captured:
        console.print(show(tmp_path))
    lines = captured.get().splitlines()
    assert any(line.rstrip().endswith(shown) for line in lines), captured.get()
    assert sum(line.startswith("failed") for line in lines) == 1
    assert "\x1b" not in captured.get()


def test_a_reason_without_end_is_cut(tmp_path: Path) -> None:
    record = Record(
        status="failed", reason="no " * 10**5, model="m", task="t", method="did", seed=0
    )
    write(record, tmp_path)
    assert len(CliRunner().invoke(app, ["status", str(tmp_path)]).stdout) < 5000


def test_an_end_beyond_the_calendar_is_none_to_fail_on() -> None:
    facts: dict[str, Any] = {"model": "m", "task": "t", "method": "did", "seed": 0}
    done = Record(status="done", wall_s=1e10, **facts)
    runs = [done, Record(status="running", **facts), *[Record(status="waiting", **facts)] * 10**4]
    assert left(runs).startswith("; about ")


@pytest.mark.parametrize("status", ["done", "waiting", "failed"])
def test_10000_runs_take_a_few_times_what_their_files_take(tmp_path: Path, status: Status) -> None:
    groups = {f"layer.{index}": Group(D=10**5, scale=1.5) for index in range(12)}
    facts = Record(
        status=status, model="m", task="t", method="said", seed=0, groups=groups, reason="no " * 9
    )
    write(facts, tmp_path)
    # Written once and copied: each write waits for the disk.
    text = (tmp_path / RESULT).read_bytes()
    (tmp_path / RESULT).unlink()
    for index in range(10_000):
        (run := tmp_path / f"{index % 10}" / f"{index}").mkdir(parents=True)
        (run / RESULT).write_bytes(text)
    seconds, shown = spent(SAID, "status", tmp_path)
    least, _ = spent(FILES, tmp_path)
    assert seconds < 12 * least
    assert f"10000 runs: 10000 {status}" in shown
