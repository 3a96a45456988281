"""A run that learned an easy task, its certificate, and copies of it to spoil."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from said_lightning.certify.certify import certify
from said_lightning.config.identity import RunSpec
from said_lightning.runs.certificate import CERTIFICATE, read
from said_lightning.training.run import run

# Enough rows, numbers and steps to learn an easy task with any seed, by a short message.
ROWS = 1600
FIT = ["trainer.epochs=5", "trainer.batch_size=16", "trainer.save_every=1000", "lr=0.07", "d=50"]


@pytest.fixture(scope="session")
def easy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SST-2 as original files, where one word of three decides."""
    folder = tmp_path_factory.mktemp("easy")
    (folder / "SST-2").mkdir()
    words = (("bad", "dull", "poor"), ("good", "fine", "great"))
    for name, rows in (("train.tsv", ROWS), ("dev.tsv", 60)):
        lines = [f"the film a {words[i % 2][i % 3]} plot\t{i % 2}" for i in range(rows)]
        (folder / "SST-2" / name).write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    return folder


@pytest.fixture(scope="session")
def trained(
    compose: Callable[..., RunSpec], easy: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a run that learned the easy task."""
    spec = compose(tmp_path_factory.mktemp("sweep"), f"task.data_dir={easy}", *FIT)
    assert run(spec).status == "done"
    return spec.folder


@pytest.fixture(scope="session")
def certified(trained: Path) -> Path:
    """Return the same with its certificate."""
    certify(trained, [3, 6], 1, trained.parents[2])
    return trained


@pytest.fixture
def copied(certified: Path, tmp_path: Path) -> Path:
    """Return a copy of the run to spoil."""
    return shutil.copytree(certified, tmp_path / "run")


@pytest.fixture(scope="session")
def artifact_of() -> Callable[[Path], Path]:
    """Return the function from a certified run's folder to its artifact's file."""
    return lambda folder: folder / read(folder / CERTIFICATE).artifact
