"""The board follows a sweep: on this machine alone, within 3 seconds, whatever comes and goes."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from said_lightning.analysis.report.board import Board, serve
from said_lightning.errors import UserError
from said_lightning.runs.record import Record, write

MakeRun = Callable[..., Record]


@pytest.fixture
def sweep(run: MakeRun, tmp_path: Path) -> Path:
    """Leave full fine-tuning and SAID below and above the threshold with two seeds, one to come."""
    path = tmp_path / "sweep"
    runs = [run("full", 0.8 + seed / 100, seed=seed) for seed in (0, 1)]
    for d, value in ((10, 0.55), (100, 0.7), (1000, 0.79)):
        runs += [run("said", value + s / 20, d=d, seed=s, wall_s=60.0) for s in (0, 1)]
    runs.append(run("said", None, d=3000, status="waiting"))
    for index, one in enumerate(runs):
        leave(path / f"{index}", one)
    return path


def leave(folder: Path, record: Record) -> None:
    """Leave a run in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write(record, folder)


def settled(path: Path) -> str:
    """Return the board's page once its report is made."""
    board = Board(path)
    for _ in range(200):
        board.look()
        if not board._maker.is_alive():
            break
        time.sleep(0.05)
    board.look()
    return board.html.decode()


def get(
    address: str, host: str | None = None, tag: str = "", path: str = "/"
) -> tuple[int, str, str]:
    """Return the code, the tag and the text of an answer."""
    place = urlsplit(address)
    line = http.client.HTTPConnection(place.hostname or "", place.port, timeout=10)
    line.request("GET", path, headers={"Host": host or place.netloc, "If-None-Match": tag})
    answer = line.getresponse()
    return answer.status, answer.getheader("ETag") or "", answer.read().decode()


@contextmanager
def started(path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `said board` in a process of its own; yield it and its address."""
    said = "from said_lightning.cli import main; main()"
    command = [sys.executable, "-c", said, "board", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert found is not None
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


def wait(address: str, text: str, seconds: float) -> float:
    """Wait until the page holds a text; return how long that took."""
    begun = time.monotonic()
    while text not in get(address)[2]:
        assert time.monotonic() - begun < seconds, f"no {text!r} within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - begun


def test_a_runs_end_is_shown_within_3_seconds_and_ctrl_c_ends_the_board(
    sweep: Path, run: MakeRun
) -> None:
    with started(sweep) as (process, address):
        wait(address, "9 runs: 8 done, 1 waiting", 60)
        wait(address, "<h2>The answer</h2>", 60)
        leave(sweep / "8", run("said", 0.8, d=3000))
        wait(address, "9 runs: 9 done", 3)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_the_board_is_the_report_with_the_state_and_the_price_of_more_precision(
    sweep: Path,
) -> None:
    page = settled(sweep)
    assert "<p>9 runs: 8 done, 1 waiting</p>" in page
    assert "minilm · sst2 · SAID fastfood: x1.5" in page.partition("<main>")[0]
    assert re.findall("<h2>(.*?)</h2>", page)[:2] == ["The answer", "The metric over d"]
    assert "<svg role=" in page


def test_what_fails_and_what_runs_is_named_with_the_time_left(sweep: Path, run: MakeRun) -> None:
    leave(sweep / "8", run("said", None, d=3000, status="failed", reason="out of <memory>"))
    leave(sweep / "9", run("said", None, d=3000, seed=1, status="running"))
    state = settled(sweep).partition("<main>")[0]
    assert "<p>failed: 8: out of &lt;memory&gt;</p>" in state
    assert "<p>running: 9</p>" in state
    assert re.search(r"1 running, 1 failed; about 0:01:00 left, until", state)


def test_folders_may_come_and_go(sweep: Path, run: MakeRun) -> None:
    board = Board(sweep)
    board.look()
    shutil.rmtree(sweep)
    board.look()
    assert "no such folder" in board.html.decode()
    sweep.mkdir()
    board.look()
    assert "no run below it" in board.html.decode()
    (sweep / "torn").mkdir()
    (sweep / "torn" / "result.json").write_text("{")
    leave(sweep / "0", replace(run("full", 0.8), status="done"))
    page = settled(sweep)
    assert "1 runs: 1 done" in page
    assert "warning: " in page


def test_folders_that_go_while_they_are_read_end_nothing(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise FileNotFoundError("gone")

    monkeypatch.setattr("said_lightning.analysis.report.board.build", gone)
    assert "9 runs: 8 done" in settled(sweep)


def test_a_port_is_opened_on_loopback_alone(sweep: Path) -> None:
    with serve(Board(sweep), 0) as address:
        port = urlsplit(address).port
        assert get(address)[0] == 200
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port), timeout=2)  # loopback too, but another
        listening = Path("/proc/net/tcp").read_text().splitlines()
        own = [line.split()[1] for line in listening if f":{port:04X} " in line and " 0A " in line]
        assert own == [f"0100007F:{port:04X}"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "10.0.0.1", "", "127.0.0.1.x.y"]
)
def test_another_host_name_is_refused(host: str, sweep: Path) -> None:
    with serve(Board(sweep), 0) as address:
        code, _, text = get(address, host or " ")
        assert code == 421
        assert "runs are being read" not in text


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:8000"])
def test_the_machines_own_names_are_answered(host: str, sweep: Path) -> None:
    with serve(Board(sweep), 0) as address:
        assert get(address, host)[0] == 200


def test_a_page_that_has_not_changed_is_not_sent_again(sweep: Path) -> None:
    board = Board(sweep)
    with serve(board, 0) as address:
        _, tag, text = get(address)
        assert text
        assert get(address, tag=tag) == (304, tag, "")
        board.look()
        assert get(address, tag=tag)[0] == 200


def test_nothing_but_the_page_and_its_script_is_served(sweep: Path) -> None:
    with serve(Board(sweep), 0) as address:
        assert "fetch(" in get(address, path="/board.js")[2]
        for path in ("/page.css", "/../result.json", "//x", "/0/result.json", "http://evil/"):
            assert get(address, path=path)[0] == 404


def test_a_port_in_use_is_one_message(sweep: Path) -> None:
    with serve(Board(sweep), 0) as address:
        port = urlsplit(address).port or 0
        with (
            pytest.raises(UserError, match=rf"--port {port}: cannot be opened"),
            serve(Board(sweep), port),
        ):
            pass
    with pytest.raises(UserError, match="--port 70000"), serve(Board(sweep), 70000):
        pass


def test_a_folder_that_is_not_there_at_the_start_is_a_mistake(tmp_path: Path) -> None:
    said = "from said_lightning.cli import main; main()"
    command = [sys.executable, "-c", said, "board", str(tmp_path / "nothing")]
    ended = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert ended.returncode == 2
    assert ended.stderr == f"error: {tmp_path / 'nothing'}: no such folder\n"
