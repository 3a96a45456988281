"""While runs go on, one bar moves below whole lines on a terminal, and a log gets lines alone."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from said_lightning.runs.index import find
from said_lightning.runs.record import Metric, Record, write
from said_lightning.runs.watch import Progress, Watch, read_progress, write_progress
from tests.training.screens import show

ROOT = Path(__file__).parents[2]
TRAIN = [sys.executable, str(ROOT / "train.py"), "-m"]
SWEEP = ["method=full,did", "d=10,20", "trainer.epochs=12", "trainer.batch_size=2"]
BAR = re.compile("[━╺╸]")
CLOCK = re.compile(r"^\d\d:\d\d:\d\d ")
# A sweep of four runs that other processes make and print about.
PROGRAM = """
import os, subprocess, sys, time
from pathlib import Path
from types import SimpleNamespace
from said_lightning.runs.record import Record, write
from said_lightning.runs.watch import Progress, write_progress
from said_lightning.training.follow import Follower, Reader

out = Path(sys.argv[1])
specs = [SimpleNamespace(folder=out / f"run{n}", out=out, name=f"run{n}") for n in range(4)]
def record(n, status, **more):
    specs[n].folder.mkdir(exist_ok=True, parents=True)
    write(Record(model="m", task="t", method="did", seed=0, status=status, **more), specs[n].folder)
for n in range(4):
    record(n, "waiting")
with Follower(Reader(lambda records: f"DID d90 ~ {len(records)}", print)) as follower:
    follower.follow(lambda: specs, True)
    time.sleep(0.4)
    record(0, "done", wall_s=60.0)
    record(1, "failed", reason="it broke")
    record(2, "running")
    write_progress(specs[2].folder, Progress(2, 3, 40, 160))
    whole = "b'line %d of a child %s' % (i, b'x' * 70) + bytes([10])"  # each in one write
    child = f"import os; [os.write(1, {whole}) for i in range(20)]"
    children = [subprocess.Popen([sys.executable, "-c", child]) for _ in range(2)]
    [one.wait() for one in children]
    print("out", flush=True)
    print("written over\\rlast", file=sys.stderr)
    os.write(2, b"a part, ")
    time.sleep(0.8)
    os.write(2, b"and the rest; \\xff\\n")
    time.sleep(0.7)
    if len(sys.argv) > 2:
        raise SystemExit(3)
"""


def program(out: Path, *more: str) -> list[str]:
    """Return the command of the program above."""
    return [sys.executable, "-c", PROGRAM, str(out), *more]


def bars(lines: list[str]) -> list[str]:
    """Return the lines that hold a bar."""
    return [line for line in lines if BAR.search(line)]


def test_one_bar_shows_how_all_runs_stand_below_whole_lines(tmp_path: Path) -> None:
    shown = show(program(tmp_path))
    assert shown.code == 0
    assert max(len(bars(lines)) for lines in shown.moments) == 1
    best = next(lines for lines in reversed(shown.moments) if bars(lines))
    # One done, one failed, a quarter of a third: the two to come take a minute each.
    assert best[-2].endswith(" 1/4 runs done, 1 failed, about 0:01:45 left, DID d90 ~ 4")
    assert best[-1].split() == ["epoch", "2/3,", "step", "40/160", "run2"]
    printed = shown.last
    whole = [f"line {number} of a child {'x' * 70}" for number in range(20)] * 2
    assert sorted(line for line in printed if "child" in line) == sorted(whole)
    assert {"out", "last", "a part, and the rest; \\xff"} <= set(printed)
    assert bars(printed) == []


@pytest.mark.parametrize("columns", ["60", "40"])
def test_the_bar_takes_one_line_of_a_narrow_terminal(columns: str, tmp_path: Path) -> None:
    shown = show(program(tmp_path), COLUMNS=columns, NO_COLOR="1")
    drawn = [lines for lines in shown.moments if bars(lines)]
    assert {len(bars(lines)) for lines in drawn} == {1}
    assert max(len(bar) for lines in drawn for bar in bars(lines)) <= int(columns)
    assert not re.search(rb"\x1b\[[\d;]*3\dm", shown.written)


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_gets_lines_alone(term: str, tmp_path: Path) -> None:
    shown = show(program(tmp_path), TERM=term)
    assert shown.code == 0
    assert b"\x1b" not in shown.written
    assert any("1/4 runs done, 1 failed" in line for line in shown.last)


def test_a_log_gets_a_line_as_runs_end(tmp_path: Path) -> None:
    ended = subprocess.run(program(tmp_path), capture_output=True, text=True, errors="replace")
    assert "1/4 runs done, 1 failed, about 0:01:45 left, DID d90 ~ 4\n" in ended.stderr
    assert not BAR.search(ended.stdout + ended.stderr)
    assert "\x1b" not in ended.stdout + ended.stderr


def test_an_exit_inside_gives_the_terminal_back(tmp_path: Path) -> None:
    shown = show(program(tmp_path, "exit"))
    assert shown.code == 3
    assert bars(shown.last) == []
    # The cursor is hidden at no time, since a process that is killed could not show it again.
    assert b"\x1b[?25l" not in shown.written


def test_who_hangs_up_stops_no_run(tmp_path: Path) -> None:
    def hang_up(lines: list[str], terminal: int) -> None:
        if bars(lines):
            os.close(terminal)

    deaf = ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh"]
    shown = show([*deaf, *program(tmp_path, "exit")], act=hang_up)
    assert shown.code == 3


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweep_on_a_terminal(launcher: str, tiny: list[str], tmp_path: Path) -> None:
    if launcher == "joblib":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    more = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    out = tmp_path / "out"
    arguments = [*tiny, *SWEEP, f"out={out}", f"hydra/launcher={launcher}", *more]
    shown = show([*TRAIN, *arguments], columns=250)
    assert shown.code == 0, shown.last
    assert max(len(bars(lines)) for lines in shown.moments) == 1
    under_way = [line for lines in shown.moments if bars(lines) for line in lines]
    assert any(re.match(r"epoch \d+/12, step \d+/\d+ +tiny/sst2/", line) for line in under_way)
    # Each run's log stands on the terminal line by line, but for its warnings' second lines.
    for record in find(out)[0]:
        assert record.folder is not None
        for line in (record.folder / "train.log").read_text().splitlines():
            if CLOCK.match(line) and "epoch" in line:
                assert line in shown.last
        assert not (record.folder / ".progress").exists()
    assert bars(shown.last) == []
    done = shown.last.index("3 of 3 runs done")
    assert shown.last[done + 1] == "tiny · sst2"
    assert any(line.startswith(" did") for line in shown.last[done:])


def test_ctrl_c_on_a_terminal_ends_a_sweep_with_one_line(tiny: list[str], tmp_path: Path) -> None:
    typed: list[bool] = []

    def ctrl_c(lines: list[str], terminal: int) -> None:
        if not typed and lines[-1].startswith("epoch"):
            typed.append(True)
            os.write(terminal, b"\x03")

    arguments = [*tiny, *SWEEP, "trainer.epochs=2000", f"out={tmp_path / 'out'}"]
    shown = show([*TRAIN, *arguments], act=ctrl_c)
    assert (shown.code, shown.last[-1]) == (130, "stopped by Ctrl-C")
    assert bars(shown.last) == []
    assert not any("Traceback" in line for line in shown.last)


def run(folder: Path, status: str, **facts: object) -> Path:
    """Leave the record of a run."""
    folder.mkdir(exist_ok=True)
    metric = Metric(name="accuracy", value=0.5)
    known = {"model": "m", "task": "t", "method": "did", "seed": 0, "metric": metric}
    write(Record(**{**known, "status": status, **facts}), folder)  # type: ignore[arg-type]
    return folder


def test_a_look_returns_the_runs_that_have_ended_since_the_last(tmp_path: Path) -> None:
    done, to_come, broken = (tmp_path / name for name in ("done", "to_come", "broken"))
    for folder, status in ((done, "done"), (to_come, "waiting"), (broken, "failed")):
        run(folder, status)
    watch = Watch(lambda: [done, to_come, broken, tmp_path / "none"])
    assert watch.look() == []
    assert (watch.count("done"), watch.count("waiting"), watch.count("failed")) == (1, 2, 0)
    assert watch.look() == []
    run(to_come, "done")
    assert [record.folder for record in watch.look()] == [to_come]
    run(broken, "failed", ended="2026-01-01T00:00:00Z")
    assert [record.folder for record in watch.look()] == [broken]
    assert (watch.count("done"), watch.count("failed")) == (2, 1)


def test_a_look_at_runs_that_wait_reads_no_record_again(tmp_path: Path) -> None:
    folders = [run(tmp_path / str(number), "waiting") for number in range(200)]
    watch = Watch(lambda: folders)
    seconds = []
    for _ in range(2):
        began = time.process_time()
        watch.look()
        seconds.append(time.process_time() - began)
    assert seconds[1] < seconds[0] / 2


@pytest.mark.parametrize("text", ["", "[1,2]", "[1,2,3,0]", "[1,2,9,3]", '["a",1,1,1]', "{}", "3"])
def test_a_broken_note_is_none(text: str, tmp_path: Path) -> None:
    assert read_progress(tmp_path) is None
    write_progress(tmp_path, Progress(1, 2, 3, 6))
    assert read_progress(tmp_path) == Progress(1, 2, 3, 6)
    (tmp_path / ".progress").write_text(text)
    assert read_progress(tmp_path) is None
