"""The same sweep gives the same rows through every launcher."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from said_lightning.runs.lease import lease

ROOT = Path(__file__).parents[2]
OF_THE_MOMENT = ("started", "ended", "wall_s", "peak_memory_bytes", "threads", "notes")
SWEEP = ["method=full,did", "d=10,20", "trainer.epochs=1"]
# Long enough that each job can be met while it trains.
LONG = ["method=did", "d=10,20,30", "trainer.epochs=60", "trainer.batch_size=2"]


def sweep(tiny: list[str], out: Path, launcher: str, jobs: list[str], *more: str) -> dict[str, Any]:
    """Run a sweep in a process of its own and give its rows by their folders."""
    command = [sys.executable, str(ROOT / "train.py"), "-m", *tiny, *jobs, *more]
    # It makes workers draw from as many threads as this process.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*command, f"out={out}", f"hydra/launcher={launcher}"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return rows(out)


def rows(out: Path) -> dict[str, Any]:
    """The rows of a sweep, without what differs between any two runs."""
    found = {}
    for path in sorted(out.rglob("result.json")):
        row = json.loads(path.read_text())
        assert row["status"] == "done", row["reason"]
        found[str(path.relative_to(out))] = {
            key: value for key, value in row.items() if key not in OF_THE_MOMENT
        }
    return found


@pytest.fixture(scope="module")
def plain(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The rows by Hydra's own launcher."""
    return sweep(tiny, tmp_path_factory.mktemp("basic"), "basic", SWEEP)


def needs(launcher: str) -> None:
    """Skip where a launcher's package, or the cluster it submits to, is absent."""
    package = {"joblib": "joblib", "gpus": "joblib", "ray": "ray"}.get(launcher, "submitit")
    if importlib.util.find_spec(f"hydra_plugins.hydra_{package}_launcher") is None:
        pytest.skip(f"hydra-{package}-launcher is not installed")
    if launcher == "slurm" and (
        shutil.which("sbatch") is None or subprocess.run(["sinfo"], capture_output=True).returncode
    ):
        pytest.skip("there is no Slurm cluster; .ci/slurm starts one")


@pytest.mark.parametrize("launcher", ["joblib", "gpus", "submitit_local", "slurm", "ray"])
def test_every_launcher_gives_the_same_rows(
    tiny: list[str], plain: dict[str, Any], tmp_path: Path, launcher: str
) -> None:
    needs(launcher)
    assert len(plain) == 3
    assert sweep(tiny, tmp_path / "out", launcher, SWEEP) == plain


def slurm(*command: str) -> list[str]:
    """Ask the cluster, and give its words."""
    return subprocess.run(command, capture_output=True, text=True).stdout.split()


def test_jobs_killed_preempted_and_timed_out_on_slurm_end_with_the_same_rows(
    tiny: list[str], tmp_path: Path
) -> None:
    needs("slurm")
    expected = sweep(tiny, tmp_path / "plain", "basic", LONG)
    out = tmp_path / "out"
    command = [sys.executable, str(ROOT / "train.py"), "-m", *tiny, *LONG, f"out={out}"]
    # An array of one job at a time, so that each is met alone.
    options = ["hydra/launcher=slurm", "hydra.launcher.array_parallelism=1"]
    options += ["hydra.launcher.poll_s=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    launcher = subprocess.Popen([*command, *options], env=environment, **pipes)
    blows = [
        ["kill", "-KILL"],
        ["scontrol", "requeue"],  # what Slurm does to a job that it preempts
        ["scancel", "--signal=USR2"],  # what it sends when a job's time is nearly up
    ]
    struck: set[Path] = set()
    until = time.monotonic() + 400
    while launcher.poll() is None and time.monotonic() < until:
        running = slurm("squeue", "--noheader", "--states=running", "--format=%i")
        new = {path.parent for path in out.rglob("state.safetensors")} - struck
        if running and new and blows:
            struck |= new
            owner = lease(new.pop().parent).owner
            assert owner is not None
            slurm(*blows[0], str(owner.pid) if blows[0][0] == "kill" else running[0])
            blows.pop(0)
        for waiting in slurm("squeue", "--noheader", "--states=pending", "--format=%i"):
            # Slurm lets a job that it has queued again wait for two minutes.
            slurm("scontrol", "update", f"jobid={waiting}", "StartTime=now")
        time.sleep(0.2)
    told = launcher.communicate()[0]
    assert not blows, told
    assert launcher.returncode == 1, told  # the one that was killed has no result
    assert "2 of 3 runs done" in told
    assert sweep(tiny, out, "slurm", LONG) == expected
