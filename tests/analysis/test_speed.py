"""What reads 10,000 runs takes a few times as long as to read their files as JSON."""

import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from said_lightning.runs.record import RESULT, Group, Record, write

MakeRun = Callable[..., Record]
RUNS = 10_000
# What no reader can do without: the files, and the libraries that fit and draw.
LEAST = """
import json, sys
from pathlib import Path
import matplotlib.pyplot, numpy, scipy.stats
for path in Path(sys.argv[1]).rglob("result.json"):
    json.loads(path.read_text())
"""
READ = "from said_lightning.cli import main; main()"


def runs(facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield full fine-tuning with three seeds, SAID and DID on the paper's grid with four."""
    metric = facts["metric"]
    for seed in range(3):
        scored = {**metric, "value": 0.84 + seed / 500}
        yield {"method": "full", "projection": None, "seed": seed, "metric": scored}
    for d in (int(10 ** (2 + 4 * i / 63) + 1e-9) for i in range(64)):
        value = 0.84 / (1 + math.exp(3 - 1.5 * math.log10(d)))
        for method in ("said", "did"):
            for seed in range(4):
                scored = {**metric, "value": value + seed / 500}
                yield {"method": method, "d": d, "seed": seed, "metric": scored}


@pytest.fixture(scope="module")
def study(run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with runs of five models and four tasks."""
    path = tmp_path_factory.mktemp("study")
    groups = {f"layer.{i}": Group(D=10**5, scale=1.5) for i in range(12)}
    write(run("said", 0.8, groups=groups), path)
    # Written once and copied: each write waits for the disk.
    facts = json.loads((path / RESULT).read_text())
    (path / RESULT).unlink()
    models, tasks = ("bert", "roberta", "albert", "xlnet", "gpt2"), ("mrpc", "qqp", "rte", "sst2")
    for model, task in itertools.product(models, tasks):
        for number, one in enumerate(runs(facts)):
            (folder := path / model / task / str(number)).mkdir(parents=True)
            (folder / RESULT).write_text(json.dumps({**facts, "model": model, "task": task} | one))
    assert len(list(path.rglob(RESULT))) > RUNS
    return path


def spent(program: str, *arguments: str) -> float:
    """Return the seconds of processor time that a program takes."""
    before = os.times()
    # As a user's shell is, not as the tests' is.
    own = {key: value for key, value in os.environ.items() if "NUM_THREADS" not in key}
    command = [sys.executable, "-c", program, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=own)
    after = os.times()
    assert ended.returncode == 0, ended.stderr
    mine = after.children_user + after.children_system
    return mine - before.children_user - before.children_system


@pytest.fixture(scope="module")
def least(study: Path) -> float:
    """Return the seconds without which there is no reading."""
    return spent(LEAST, str(study))


@pytest.mark.parametrize(("command", "most"), [("status", 2), ("d90", 8), ("report", 8)])
def test_10000_run_folders_are_read_in_a_few_times_what_their_files_take(
    study: Path, least: float, command: str, most: float
) -> None:
    assert spent(READ, command, str(study)) < most * least
