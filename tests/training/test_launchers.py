"""The same sweep gives the same rows through every launcher."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OF_THE_MOMENT = ("started", "ended", "wall_s", "peak_memory_bytes", "threads", "notes")
SWEEP = ["method=full,did", "d=10,20", "trainer.epochs=1"]
WIDE = ["method=full,did,said", "d=10,20,30,40,50", "trainer.epochs=1"]


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
