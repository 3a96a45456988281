"""What reads runs takes less than 10 seconds of processor time on 10,000 of them."""

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
RUNS, SECONDS = 10_000, 10


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


@pytest.mark.parametrize("command", [["status"], ["d90"], ["report"]])
def test_10000_run_folders_are_read_in_seconds(study: Path, command: list[str]) -> None:
    before = os.times()
    said = "from said_lightning.cli import main; main()"
    shell = [sys.executable, "-c", said, *command, str(study)]
    # As a user's shell is, not as the tests' is.
    own = {key: value for key, value in os.environ.items() if "NUM_THREADS" not in key}
    ended = subprocess.run(shell, capture_output=True, text=True, check=False, env=own)
    after = os.times()
    assert ended.returncode == 0, ended.stderr
    spent = after.children_user + after.children_system
    assert spent - before.children_user - before.children_system < SECONDS
