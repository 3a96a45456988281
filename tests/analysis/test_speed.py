"""`said d90` and `said report` on 2,000 run folders take less than 5 seconds of processor time."""

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from said_lightning.cli.app import app
from said_lightning.runs.record import RESULT, Group, Record, write

MakeRun = Callable[..., Record]
SECONDS = 5


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
    """Return a folder with runs of two models and two tasks."""
    path = tmp_path_factory.mktemp("study")
    groups = {f"layer.{i}": Group(D=10**5, scale=1.5) for i in range(12)}
    write(run("said", 0.8, groups=groups), path)
    # Written once and copied: each write waits for the disk.
    facts = json.loads((path / RESULT).read_text())
    (path / RESULT).unlink()
    for panel in ("bert/mrpc", "bert/qqp", "roberta/mrpc", "roberta/qqp"):
        model, _, task = panel.partition("/")
        for number, one in enumerate(runs(facts)):
            (folder := path / panel / str(number)).mkdir(parents=True)
            (folder / RESULT).write_text(json.dumps({**facts, "model": model, "task": task} | one))
    assert len(list(path.rglob(RESULT))) > 2000
    return path


@pytest.mark.parametrize("command", [["d90", "--no-plot"], ["d90"], ["report"]])
def test_2000_run_folders_are_read_in_seconds(study: Path, command: list[str]) -> None:
    clock = time.process_time()
    ended = CliRunner().invoke(app, [*command, str(study)])
    assert time.process_time() - clock < SECONDS
    assert ended.exit_code == 0, ended.output
