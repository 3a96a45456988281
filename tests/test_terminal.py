"""Whatever becomes of the terminal, a command ends with an exit code and without a traceback."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from said_lightning.runs.record import Metric, Record, write

SAID = [sys.executable, "-m", "said_lightning.cli"]
# Ctrl-C while a module is imported, which is where most of a short command's time goes.
AT_IMPORT = """
import os, signal, sys

class CtrlC:
    def find_spec(self, name, *_):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
sys.argv = ["said", *{arguments!r}]
from said_lightning.cli import main
main()
"""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Make a baseline and a run of a task whose name no ASCII terminal shows."""
    for number, method in enumerate(("full", "did")):
        folder = tmp_path / "runs" / str(number)
        folder.mkdir(parents=True)
        own: dict[str, Any] = {"method": method, "d": 10**6 if number == 0 else 100, "lr": 0.1}
        metric = Metric(name="accuracy", value=0.8, trivial=0.5)
        projection = "fastfood" if number else None
        task: dict[str, Any] = {"model": "minilm", "task": "größe", "projection": projection}
        write(Record(status="done", seed=0, metric=metric, **task, **own), folder)
    return tmp_path / "runs"


def end(command: list[str], **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, text=True, stderr=subprocess.PIPE, **settings)


COMMANDS = {
    "d90": ["d90", "RUNS", "--no-plot"],
    "json": ["d90", "RUNS", "--json"],
    "status": ["status", "RUNS"],
    "check": ["check", "model=minilm", "task=bbc", "d=10"],
    "help": ["train", "--help"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_that_takes_nothing_more_is_one_line_and_exit_code_1(
    name: str, runs: Path
) -> None:
    command = [*SAID, *(part.replace("RUNS", str(runs)) for part in COMMANDS[name])]
    with Path("/dev/full").open("w") as full:
        ended = end(command, stdout=full)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "error: standard output: No space left on device"
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_a_reader_that_has_seen_enough_is_no_error_to_speak_of(runs: Path) -> None:
    command = [*SAID, "d90", str(runs), "--no-plot"]
    reading, writing = os.pipe()
    os.close(reading)
    ended = end(command, stdout=writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_end_nothing_and_no_file_takes_their_place(
    closed: str, runs: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    command = " ".join([*SAID, "report", str(runs), "-o", str(page), closed])
    before = {path: path.read_bytes() for path in runs.rglob("*.json")}
    assert end(["sh", "-c", command]).returncode == 0
    assert page.read_text(encoding="utf-8").startswith("#")
    assert {path: path.read_bytes() for path in runs.rglob("*.json")} == before


@pytest.mark.parametrize("name", ["d90", "status", "help"])
def test_an_ascii_terminal_shows_what_it_can(name: str, runs: Path) -> None:
    command = [*SAID, *(part.replace("RUNS", str(runs)) for part in COMMANDS[name])]
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    ended = end(command, stdout=subprocess.PIPE, env=ascii_only)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.isascii()
    if name == "d90":
        assert "gr\\xf6\\xdfe" in ended.stdout


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("typer", ["d90", "RUNS"]),
        ("said_lightning.analysis.table", ["d90", "RUNS"]),
        ("said_lightning.analysis.report.formats", ["report", "RUNS"]),
        ("rich.console", ["status", "RUNS"]),
        ("hydra", ["check", "task=bbc"]),
        ("hydra.core.utils", ["train", "task=bbc"]),
        ("safetensors.torch", ["export", "RUNS"]),
        ("safetensors.torch", ["merge", "RUNS", "-o", "x"]),
        ("huggingface_hub", ["push", "RUNS", "me/x"]),
        ("said_lightning.certify.certify", ["certify", "RUNS"]),
        ("said_lightning.certify.verify", ["verify", "RUNS"]),
        ("said_lightning.tools.pretrain.settings", ["pretrain"]),
        ("said_lightning.tools.bench", ["bench"]),
        ("said_lightning.tools.wandb.sync", ["sync", "RUNS"]),
        ("said_lightning.tools.wandb.workspace", ["workspace", "me/x"]),
    ],
)
def test_ctrl_c_ends_every_command_with_one_line(
    module: str, arguments: list[str], runs: Path, tmp_path: Path
) -> None:
    given = [part.replace("RUNS", str(runs)) for part in arguments]
    program = AT_IMPORT.format(module=module, arguments=given)
    ended = end([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "stopped by Ctrl-C\n")
