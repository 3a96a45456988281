"""The program itself: exit codes, and what it prints and leaves."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Run train.py, from a folder of its own."""

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "train.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    return start


def statuses(out: Path) -> dict[str, str]:
    """Give the status of each run by its folder."""
    return {
        str(path.parent): json.loads(path.read_text())["status"]
        for path in sorted(out.rglob("result.json"))
    }


@pytest.mark.parametrize(
    ("question", "answer"), [("--help", "Groups: GROUP=NAME"), ("--cfg=job", "seed: 0")]
)
def test_questions_are_answered_and_run_nothing(
    program: Program, tmp_path: Path, question: str, answer: str
) -> None:
    ended = program(question)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert answer in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_leaves_a_folder_for_each_job_and_exits_0(
    program: Program, tiny: list[str], tmp_path: Path
) -> None:
    ended = program("-m", *tiny, "d=10,20,30", "method=did", "out=out")
    assert ended.returncode == 0, ended.stderr
    assert "3 of 3 runs done" in ended.stdout
    assert list(statuses(tmp_path / "out").values()) == ["done"] * 3
    assert {path.parent.parent.name for path in tmp_path.rglob("result.json")} == {"sst2"}


def test_a_failed_job_is_named_and_the_others_are_done_and_the_exit_code_is_1(
    main: Any, tmp_path: Path
) -> None:
    code, out, _ = main("-m", "method=full", "lr=1e-3,1e30")
    assert code == 1
    ends = statuses(tmp_path / "out")
    assert sorted(ends.values()) == ["done", "failed"]
    (failed,) = (folder for folder, status in ends.items() if status == "failed")
    named = out[out.index("1 of 2 runs done") :]
    assert f"{failed}: failed: FloatingPointError: the training loss is nan in epoch 1" in named


def test_a_malformed_file_is_named_with_its_line_and_other_jobs_go_on(
    main: Any, tmp_path: Path, glue: Path
) -> None:
    data = tmp_path / "glue"
    shutil.copytree(glue, data)
    (data / "MRPC").mkdir()
    rows = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t2\t3\tone\ttwo\n"
    (data / "MRPC" / "dev.tsv").write_text(rows)
    (data / "MRPC" / "train.tsv").write_text(f"{rows}maybe\t2\t3\tone\ttwo\n")
    code, out, err = main("-m", "method=full", "task=mrpc,sst2", f"task.data_dir={data}")
    assert code == 2
    assert f"{data / 'MRPC' / 'train.tsv'}:3: column 'Quality': found 'maybe'" in err
    assert "1 of 2 runs done" in out
    assert sorted(statuses(tmp_path / "out").values()) == ["done", "failed"]


def test_wrong_input_exits_2_without_a_traceback_and_makes_nothing(
    program: Program, tmp_path: Path
) -> None:
    ended = program("model=minilmm", "task.data_dir=missing", "d=hundred", "out=out")
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    assert [line.partition("=")[0] for line in lines] == ["model", "d", "task.data_dir"]
    assert ended.stdout == ""
    assert list(tmp_path.iterdir()) == []


LAUNCH = """
import sys
from said_lightning.training.main import main
code = main(sys.argv[1:])
heavy = {"torch", "transformers", "pytorch_lightning", "wandb", "datasets"}
print(sorted(heavy & set(sys.modules)))
sys.exit(code)
"""


def test_the_launcher_needs_no_torch(tiny: list[str], tmp_path: Path) -> None:
    arguments = [*tiny, "trainer.epochs=1", f"out={tmp_path / 'out'}"]
    program = [sys.executable, "-c", LAUNCH, *arguments]
    ended = subprocess.run(program, capture_output=True, text=True, cwd=ROOT)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "[]"), ended.stderr
    assert list(statuses(tmp_path / "out").values()) == ["done"]
