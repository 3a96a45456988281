"""Every example is short and runs from an installed wheel, nothing of the checkout in reach."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
LINES = 60
# What each needs, the argument that makes it small, and what it prints in the end.
RUNS = {
    "digits_cnn.py": (["sklearn"], ["2"], r"^300 of 18,234 numbers: accuracy 0\.\d+$"),
    "digits_d90.py": (["sklearn"], [], r"^d90 \d+ \[\d+, (?:\d+|\.\.\.)\]  found$"),
    "sft_trl.py": (["trl"], ["2"], r"^200 numbers: loss \d\.\d+, then \d\.\d+$"),
    "vit_trainer.py": (["accelerate", "sklearn"], ["1"], r"^1,000 numbers: accuracy 0\.\d+$"),
}
PROGRAM = """
import runpy, sys
sys.argv[:] = sys.argv[1:]
wheel = sys.argv.pop()
runpy.run_path(sys.argv[0], run_name="__main__")
ours = [one for name, one in sys.modules.items() if name.partition(".")[0] == "said_lightning"]
assert ours and all(one.__file__.startswith(wheel) for one in ours), ours
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that a wheel was installed into."""
    built, folder = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (file,) = built.iterdir()
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    return folder


def test_every_example_is_run_and_fits_on_a_page() -> None:
    assert {path.name for path in EXAMPLES.glob("*")} - {"__pycache__"} == set(RUNS)
    for name in RUNS:
        assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) < LINES


@pytest.mark.parametrize("name", RUNS)
def test_an_example_runs_from_the_wheel(name: str, wheel: Path, tmp_path: Path) -> None:
    packages, arguments, expected = RUNS[name]
    for package in packages:
        pytest.importorskip(package)
    command = [sys.executable, "-c", PROGRAM, str(EXAMPLES / name), *arguments, str(wheel)]
    environment = os.environ | {"PYTHONPATH": str(wheel), "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert re.search(expected, ended.stdout, re.M), ended.stdout
    assert not list(tmp_path.iterdir())
