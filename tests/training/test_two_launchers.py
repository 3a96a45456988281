"""Two launchers that start the same sweep together run every job once, and lose none."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TRAIN = str(ROOT / "train.py")
SWEEP = ["method=full,did", "d=10,20,30", "trainer.epochs=1"]
STARTED = re.compile("D = ")
# One command after the other, so that two of these start each at the same moment.
LAUNCHER = """
import json, runpy, sys
for line in sys.stdin:
    sys.argv = json.loads(line)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        print("ended with", end.code, flush=True)
"""

Program = subprocess.Popen[str]
PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}


def launch(tiny: list[str], out: Path, *jobs: str) -> Program:
    """Start train.py in a process of its own."""
    return subprocess.Popen([sys.executable, TRAIN, *tiny, *jobs, f"out={out}"], **PIPES)


def until_it_ends(program: Program) -> str:
    """What a launcher tells of one command."""
    assert program.stdout is not None
    told = ""
    for line in program.stdout:
        told += line
        if line.startswith("ended with"):
            break
    return told


@pytest.mark.parametrize("trials", [2, pytest.param(50, marks=pytest.mark.stress)])
def test_two_launchers_started_together_run_every_job_once(
    tiny: list[str], tmp_path: Path, trials: int
) -> None:
    start = [sys.executable, "-c", LAUNCHER]
    both = [
        subprocess.Popen(start, stdin=subprocess.PIPE, cwd=ROOT, bufsize=1, **PIPES)
        for _ in range(2)
    ]
    for trial in range(trials):
        out = tmp_path / str(trial)
        for program in both:
            assert program.stdin is not None
            program.stdin.write(json.dumps([TRAIN, "-m", *tiny, *SWEEP, f"out={out}"]) + "\n")
        told = [until_it_ends(program) for program in both]
        assert all("4 of 4 runs done" in text and "ended with 0" in text for text in told), told
        assert len(list(out.rglob("result.json"))) == 4
        # Each run tells its budget once, when it starts.
        logs = [path.read_text() for path in out.rglob("train.log")]
        assert [len(STARTED.findall(log)) for log in logs] == [1] * 4
    for program in both:
        program.communicate()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
def test_a_launcher_asked_to_stop_leaves_a_preempted_run_that_the_same_command_resumes(
    tiny: list[str], tmp_path: Path, signum: int
) -> None:
    jobs = ["trainer.epochs=60", "method=did", "trainer.batch_size=2"]
    program = launch(tiny, tmp_path, *jobs)
    until = time.monotonic() + 120
    while not list(tmp_path.rglob("state.safetensors")) and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(program.pid, signum)
    told = program.communicate()[0]
    assert program.returncode != 0
    assert f"preempted: {signal.Signals(signum).name}" in told
    (path,) = tmp_path.rglob("result.json")
    assert json.loads(path.read_text())["status"] == "preempted"
    again = launch(tiny, tmp_path, *jobs)
    told = again.communicate()[0]
    assert (again.returncode, "1 of 1 runs done" in told) == (0, True), told
    assert "resumed after step" in told
