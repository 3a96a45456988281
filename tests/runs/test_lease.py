"""A lease is judged by one rule: by `said status`, and by the job that waits for it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from said_lightning.runs.index import CUT_OFF, at
from said_lightning.runs.lease import FILE, SECONDS, acquire, held, lease
from said_lightning.runs.record import Record, write

ELSEWHERE = "filelock/2\npid=7\nhost=elsewhere\nmode={}\ntoken=ab\nduration={}\n"


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


def full(path: Path) -> None:
    """Make a folder that holds a file."""
    path.mkdir()
    (path / "file").touch()


# What a full disk, a copy, an older or a newer version, or a hand may leave in a lease's place.
NOBODYS: dict[str, Callable[[Path], object]] = {
    "empty": Path.touch,
    "torn": lambda path: path.write_text("filelock/2\npid=1"),
    "junk": lambda path: path.write_bytes(b"\xff" * 3000),
    "folder": Path.mkdir,
    "full folder": full,
    "pipe": os.mkfifo,
    "link to nothing": lambda path: path.symlink_to("nowhere"),
    "of another time": lambda path: path.write_text(ELSEWHERE.format("lease", "30.0")),
    "of another kind": lambda path: path.write_text(ELSEWHERE.format("exclusive", SECONDS)),
    "of a newer kind": lambda path: path.write_text(ELSEWHERE.format("shared", SECONDS)),
    "of an older kind": lambda path: path.write_text("7\nelsewhere\n"),
}


@pytest.fixture(params=list(NOBODYS))
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Leave what is no lease of a live launcher in the folder of a planned run."""
    write(Record(status="waiting", model="m", task="t", method="did", seed=0), tmp_path)
    NOBODYS[request.param](tmp_path / FILE)
    return tmp_path


@pytest.mark.parametrize("age", [SECONDS + 5, 10**6, -(10**6)])
def test_what_is_old_and_nobodys_is_cut_off_for_status_and_taken_by_the_waiting_job(
    left: Path, age: float
) -> None:
    then = time.time() - age
    os.utime(left / FILE, (then, then), follow_symlinks=False)
    assert (at(left).status, at(left).reason) == ("preempted", CUT_OFF)
    own = lease(left)
    taken = acquire(own)
    assert taken is not None
    with taken:
        assert own.owner is not None
        assert own.owner.pid == os.getpid()
        assert at(left).status == "running"
    assert sorted(os.listdir(left)) == ["result.json"]


def test_what_is_new_is_running_for_status_and_waited_for(left: Path) -> None:
    assert at(left).status == "running"
    clock = time.monotonic()
    taken = acquire(lease(left))
    # What filelock itself finds torn, it may take at once.
    assert taken is not None or time.monotonic() - clock > 0.9
    if taken is not None:
        taken.lock.release()


def test_a_live_lease_is_never_broken_however_old_it_looks(tmp_path: Path) -> None:
    with lease(tmp_path) as own:
        os.utime(tmp_path / FILE, (0, 0))
        marker = (tmp_path / FILE).read_text()
        assert acquire(lease(tmp_path)) is None
        assert (tmp_path / FILE).read_text() == marker
        assert own.is_locked


def test_a_lease_taken_meanwhile_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).touch()
    os.utime(tmp_path / FILE, (0, 0))
    quicker = lease(tmp_path)

    def held_late(folder: Path) -> bool:
        (folder / FILE).unlink()
        quicker.acquire()
        return False

    monkeypatch.setattr("said_lightning.runs.lease.held", held_late)
    assert acquire(lease(tmp_path)) is None
    assert quicker.owner is not None
    assert os.listdir(tmp_path) == [FILE]
    quicker.release()


def test_many_jobs_that_find_a_dead_lease_run_one_at_a_time(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    os.utime(tmp_path / FILE, (0, 0))
    program = (
        "import sys, time; from pathlib import Path\n"
        "from said_lightning.runs.lease import acquire, lease\n"
        "folder = Path(sys.argv[1]); own = lease(folder)\n"
        "while (taken := acquire(own)) is None: pass\n"
        "with taken:\n"
        "    (folder / 'alone').mkdir(); time.sleep(0.1); (folder / 'alone').rmdir()\n"
    )
    jobs = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(4)]
    assert [job.wait(60) for job in jobs] == [0] * 4
    assert os.listdir(tmp_path) == []
