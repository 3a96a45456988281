"""Two launchers that start the same sweep together run every job once, and lose none."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SWEEP = ["-m", "method=full,did", "d=10,20", "trainer.epochs=1"]
STARTED = re.compile("D = ")
# One command after the other, so that two of these start each at the same moment.
LAUNCHER = """
import json, runpy, sys
for line in sys.stdin:
    sys.argv = json.loads(line)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except BaseException as end:
        code = end.code if isinstance(end, SystemExit) else repr(end)
    print("ended with", code, flush=True)
"""


class Launcher:
    """A process that runs train.py as often as it is asked to."""

    def __init__(self, tiny: list[str]) -> None:
        self.tiny = tiny
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        start: Any = [sys.executable, "-c", LAUNCHER]
        self.process = subprocess.Popen(start, text=True, bufsize=1, cwd=ROOT, **pipes)  # type: ignore[call-overload]

    def start(self, out: Path, *jobs: str) -> None:
        """Start a command."""
        flags = [job for job in jobs if job.startswith("-")]
        rest = [job for job in jobs if job not in flags]
        command = [str(ROOT / "train.py"), *flags, *self.tiny, *rest, f"out={out}"]
        self.process.stdin.write(json.dumps(command) + "\n")

    def printed(self) -> str:
        """Wait for a command's end and return all that it printed."""
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith("ended with"):
                break
        return "".join(lines)


@pytest.fixture
def launchers(tiny: list[str]) -> Iterator[list[Launcher]]:
    """Two launchers, which end with the test."""
    both = [Launcher(tiny), Launcher(tiny)]
    yield both
    for launcher in both:
        launcher.process.communicate()


@pytest.mark.parametrize("trials", [1, pytest.param(50, marks=pytest.mark.stress)])
def test_two_launchers_started_together_run_every_job_once(
    launchers: list[Launcher], tmp_path: Path, trials: int
) -> None:
    for trial in range(trials):
        out = tmp_path / str(trial)
        for launcher in launchers:
            launcher.start(out, *SWEEP)
        printed = [launcher.printed() for launcher in launchers]
        assert all("3 of 3 runs done" in text and "ended with 0" in text for text in printed), (
            printed
        )
        assert len(list(out.rglob("result.json"))) == 3
        # Each run logs its budget once, when it starts.
        logs = [path.read_text() for path in out.rglob("train.log")]
        assert [len(STARTED.findall(log)) for log in logs] == [1] * 3


def test_a_launcher_asked_to_stop_leaves_a_preempted_run_that_the_same_command_resumes(
    tiny: list[str], tmp_path: Path
) -> None:
    launcher = Launcher(tiny)
    jobs = ["trainer.epochs=12", "method=did", "trainer.batch_size=2", "trainer.save_every=0"]
    since = 0
    for signum in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
        launcher.start(tmp_path, *jobs)
        # It is struck once it has saved a state of its own.
        while newest(tmp_path) <= since and launcher.process.poll() is None:
            time.sleep(0.05)
        launcher.process.send_signal(signum)
        printed = launcher.printed()
        assert "ended with 0" not in printed
        assert f"preempted: {signal.Signals(signum).name}" in printed
        (path,) = tmp_path.rglob("result.json")
        assert json.loads(path.read_text())["status"] == "preempted"
        since = newest(tmp_path)
    launcher.start(tmp_path, *jobs)
    printed = launcher.printed()
    assert "ended with 0" in printed, printed
    assert "1 of 1 runs done" in printed
    assert "resumed after step" in printed
    launcher.process.communicate()


def newest(out: Path) -> int:
    """Return when the newest state was saved, 0 where there is none."""
    with suppress(FileNotFoundError):  # one takes another's place
        return max((path.stat().st_mtime_ns for path in out.rglob("state.safetensors")), default=0)
    return 0
