"""The same sweep gives the same rows through every launcher."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from hydra_plugins.said_launchers import Pinned, gpus
from said_lightning.runs.lease import lease

ROOT = Path(__file__).parents[2]
OF_THE_MOMENT = ("started", "ended", "wall_s", "peak_memory_bytes", "threads", "notes")
STRESS = pytest.mark.stress
# Joblib's rows are compared below; those that start workers as it does are slow repetitions of it.
LAUNCHERS = [
    *("slurm", "ray"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("submitit_local", "gpus")),
]
TWO = ["method=full,did", "d=10"]
TWELVE = ["method=full,said", "d=10,20,30", "seed=0,1,2"]
SIZES = [
    pytest.param((2, *TWO), id="2"),
    pytest.param((12, *TWELVE), id="12", marks=STRESS),
]
# Long enough that each job can be met while it trains.
LONG = ["trainer.epochs=25", "trainer.batch_size=2"]
# Workers draw from as many threads as this process; Ray's yield to nobody.
ALONE = {"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}


def start(
    tiny: list[str], out: Path, launcher: str, jobs: list[str]
) -> subprocess.CompletedProcess[str]:
    """Run a sweep in a process of its own."""
    command = [sys.executable, str(ROOT / "train.py"), "-m", *tiny, *jobs]
    return subprocess.run(
        [*command, f"out={out}", f"hydra/launcher={launcher}"],
        capture_output=True,
        text=True,
        env={**os.environ, **ALONE},
    )


def sweep(tiny: list[str], out: Path, launcher: str, jobs: list[str]) -> dict[str, Any]:
    """Run a sweep in a process of its own and return its rows by their folders."""
    ended = start(tiny, out, launcher, jobs)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return rows(out)


def rows(out: Path) -> dict[str, Any]:
    """Return the rows of a sweep, without what differs between any two runs."""
    found = {}
    for path in sorted(out.rglob("result.json")):
        row = json.loads(path.read_text())
        assert row["status"] == "done", row["reason"]
        found[str(path.parent.relative_to(out))] = {
            key: value for key, value in row.items() if key not in OF_THE_MOMENT
        }
    return found


Plain = tuple[list[str], dict[str, Any]]


@pytest.fixture(scope="module", params=SIZES)
def plain(request: Any, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Plain:
    """Return a sweep and its rows by Hydra's own launcher."""
    count, *jobs = request.param
    jobs.append("trainer.epochs=1")
    expected = sweep(tiny, tmp_path_factory.mktemp("basic"), "basic", jobs)
    assert len(expected) == count
    return jobs, expected


def needs(launcher: str) -> None:
    """Skip where a launcher's package, or the cluster it submits to, is absent."""
    plugin = "hydra_plugins.hydra_{}_launcher"
    package = {name: plugin.format("joblib") for name in ("joblib", "gpus")} | {"ray": "ray"}
    if importlib.util.find_spec(package.get(launcher, plugin.format("submitit"))) is None:
        pytest.skip(f"what hydra/launcher={launcher} needs is not installed")
    if launcher == "slurm" and (
        shutil.which("sbatch") is None or subprocess.run(["sinfo"], capture_output=True).returncode
    ):
        pytest.skip("there is no Slurm cluster; .ci/slurm starts one")


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_gives_the_same_rows(
    tiny: list[str], plain: Plain, tmp_path: Path, launcher: str
) -> None:
    needs(launcher)
    jobs, expected = plain
    assert sweep(tiny, tmp_path / "out", launcher, jobs) == expected


def test_workers_give_the_same_rows_and_name_the_wrong_data_that_they_find_with_exit_code_2(
    tiny: list[str], glue: Path, plain: Plain, tmp_path: Path
) -> None:
    needs("joblib")
    jobs, expected = plain
    data = shutil.copytree(glue, tmp_path / "data")
    (data / "CoLA").mkdir()
    (data / "CoLA" / "dev.tsv").write_text("a\t1\t\tfilm\n")
    wrong = data / "CoLA" / "train.tsv"
    wrong.write_text("a\tfine\t\tfilm\n")
    tasks = ["task=sst2,cola", f"task.data_dir={data}", "hydra.launcher.n_jobs=2"]
    ended = start(tiny, tmp_path / "out", "joblib", [*jobs, *tasks])
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert f"{len(expected)} of {2 * len(expected)} runs done" in ended.stdout
    assert ended.stderr.splitlines()[-1].startswith(f"{wrong}:1: column 'label': found 'fine'")
    for path in (tmp_path / "out").glob("*/cola"):
        shutil.rmtree(path)
    assert rows(tmp_path / "out") == expected


def test_a_job_sees_a_gpu_that_no_other_job_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "left,right")
    inner = Pinned(lambda _: [os.environ["CUDA_VISIBLE_DEVICES"]], gpus())
    outer = Pinned(lambda cfg: [os.environ["CUDA_VISIBLE_DEVICES"], *inner(cfg)], gpus())
    assert outer(OmegaConf.create()) == ["left", "right"]
    assert inner(OmegaConf.create()) == ["left"]


def until(happened: Callable[[], bool], seconds: float = 100) -> None:
    """Wait for something to happen."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.1)


def is_empty(group: int) -> bool:
    """Return whether no process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("signum", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=STRESS)])
def test_jobs_in_workers_are_saved_and_end_with_their_launcher(
    tiny: list[str], tmp_path: Path, signum: int
) -> None:
    needs("joblib")
    command = [sys.executable, str(ROOT / "train.py"), "-m", *tiny, f"out={tmp_path}"]
    command += ["method=did", "seed=0,1,2", "trainer.epochs=400", "trainer.batch_size=2"]
    command += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    null: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    launcher = subprocess.Popen(
        command, env={**os.environ, **ALONE}, start_new_session=True, **null
    )
    try:
        until(lambda: len(list(tmp_path.rglob("state.safetensors"))) == 2)
        launcher.send_signal(signum)
        launcher.wait()
        until(lambda: is_empty(launcher.pid), 30)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(launcher.pid, signal.SIGKILL)
    found = [json.loads(path.read_text()) for path in tmp_path.rglob("result.json")]
    ends = sorted((row["status"], row["reason"]) for row in found)
    assert ends == [*[("preempted", "SIGTERM")] * 2, ("waiting", None)]


def slurm(*command: str) -> list[str]:
    """Ask the cluster, and return its words."""
    return subprocess.run(command, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize(
    "size",
    [
        pytest.param((3, "method=did", "d=10,20,30"), id="3"),
        pytest.param((12, "method=did", "d=10,20,30", "seed=0,1,2,3"), id="12", marks=STRESS),
    ],
)
def test_jobs_killed_preempted_and_timed_out_on_slurm_end_with_the_same_rows(
    tiny: list[str], tmp_path: Path, size: tuple[Any, ...]
) -> None:
    needs("slurm")
    count, *jobs = size
    jobs += LONG
    expected = sweep(tiny, tmp_path / "plain", "basic", jobs)
    out = tmp_path / "out"
    command = [sys.executable, str(ROOT / "train.py"), "-m", *tiny, *jobs, f"out={out}"]
    # An array of one job at a time, so that each is met alone.
    options = ["hydra/launcher=slurm", "hydra.launcher.array_parallelism=1"]
    options += ["hydra.launcher.poll_s=1", "hydra.launcher.name=struck"]
    environment = {**os.environ, **ALONE}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    launcher = subprocess.Popen([*command, *options], env=environment, **pipes)
    blows = [
        "kill -KILL {pid}",
        "sbatch --partition=high --exclusive --output=/dev/null --wrap=true",  # which preempts it
        "scancel --signal=USR2 {job}",  # what Slurm sends when a job's time is nearly up
    ]
    queue = ["squeue", "--noheader", "--format=%i"]
    struck: set[Path] = set()
    until = time.monotonic() + 100 * count
    while launcher.poll() is None and time.monotonic() < until:
        running = slurm(*queue, "--states=running", "--name=struck")
        new = {path.parent for path in out.rglob("state.safetensors")} - struck
        if running and new and blows:
            struck |= new
            if owner := lease(new.pop().parent).owner:
                slurm(*blows.pop(0).format(pid=owner.pid, job=running[0]).split())
        for waiting in slurm(*queue, "--states=pending"):
            # Slurm lets a job that it has queued again wait for two minutes.
            slurm("scontrol", "update", f"jobid={waiting}", "StartTime=now")
        time.sleep(0.2)
    printed = launcher.communicate()[0]
    assert not blows, printed
    assert launcher.returncode == 1, printed  # the one that was killed has no result
    assert f"{count - 1} of {count} runs done" in printed
    assert sweep(tiny, out, "slurm", jobs) == expected
