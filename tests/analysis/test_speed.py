"""What reads 10,000 runs takes a few times as long as to read their files as JSON."""

import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from said_lightning.runs.record import RESULT, Group, Record, write
from tests.pace import FILES, LIBRARIES, SAID, spent

MakeRun = Callable[..., Record]
RUNS = 10_000


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


@pytest.fixture(scope="module")
def least(study: Path) -> float:
    """Return the seconds without which there is no reading."""
    return spent(LIBRARIES + FILES, study)[0]


@pytest.mark.parametrize(("command", "most"), [("status", 2), ("d90", 7), ("report", 7)])
def test_10000_run_folders_are_read_in_a_few_times_what_their_files_take(
    study: Path, least: float, command: str, most: float
) -> None:
    assert spent(SAID, command, study)[0] < most * least
