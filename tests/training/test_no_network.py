"""Without any network: runs train, their status and table are read, W&B's curves are kept."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A network namespace of its own has no interface that is up, not even the local one.
CUT_OFF = ["unshare", "--map-root-user", "--net"]


def cut_off(where: Path, *command: str) -> str:
    """Run a command that no network reaches, and give what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_MODE"}
    server = {"WANDB_BASE_URL": "http://wandb.invalid", "WANDB_API_KEY": "0" * 40}
    ended = subprocess.run(
        [*CUT_OFF, sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=where,
        env={**environment, **server},
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow  # W&B is waited for
@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run([*CUT_OFF, "true"]).returncode != 0,
    reason="no network namespace can be made here",
)
def test_a_sweep_its_status_and_its_table_need_no_network(tiny: list[str], tmp_path: Path) -> None:
    train = [str(ROOT / "train.py"), *tiny, "out=out"]
    assert "1 of 1 runs done" in cut_off(tmp_path, *train, "method=full")
    online = ["logger=wandb", "logger.mode=online"]
    assert "1 of 1 runs done" in cut_off(tmp_path, *train, "method=said", *online)

    (noted,) = (
        row
        for path in (tmp_path / "out").rglob("result.json")
        if (row := json.loads(path.read_text()))["notes"]
    )
    assert (noted["method"], noted["notes"]) == (
        "said",
        ["W&B was not available: its run is kept offline"],
    )
    (curves,) = (tmp_path / "out").rglob("offline-run-*/*.wandb")
    assert b"eval/accuracy" in curves.read_bytes()
    said = [str(Path(sys.executable).with_name("said"))]
    assert "2 done" in cut_off(tmp_path, *said, "status", "out")
    assert "said" in cut_off(tmp_path, *said, "d90", "out")
    assert (tmp_path / "out" / "d90.png").exists()
