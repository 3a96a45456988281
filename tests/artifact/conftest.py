"""Finished runs and their artifacts, the same for all tests of what becomes of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from said_lightning.artifact.export import export
from said_lightning.artifact.file import FILE
from said_lightning.artifact.load import restored
from said_lightning.config.schema import Config
from said_lightning.runs.record import Epoch, Record
from said_lightning.training.run import run

SENTENCES = [
    f"{article} {noun} {word}"
    for article in ("a", "the")
    for noun in ("film", "plot")
    for word in ("good", "fine", "great", "bad", "dull", "poor")
]


class Finished(NamedTuple):
    """A finished run, its record and its last epoch's, its artifact's file and its config."""

    folder: Path
    record: Record
    last: Epoch
    file: Path
    config: Config


@pytest.fixture(scope="session")
def finish(compose: Any) -> Callable[..., Finished]:
    """Return the function that trains a tiny run and exports it."""

    def one(out: Path, *overrides: str) -> Finished:
        spec = compose(out, "trainer.step_ratio=200", *overrides)
        record = run(spec)
        export(spec.folder, None, "float32")
        assert record.last is not None
        return Finished(spec.folder, record, record.last, spec.folder / FILE, spec.config)

    return one


@pytest.fixture(scope="session")
def said(finish: Callable[..., Finished], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Return a run of SAID with enough numbers and steps to learn its task with any seed."""
    fit = ("d=50", "lr=0.07", "trainer.epochs=110", "trainer.batch_size=4")
    return finish(tmp_path_factory.mktemp("out"), "method=said", *fit)


@pytest.fixture(scope="session")
def outside(finish: Callable[..., Finished], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Return a run of DID with its head outside the subspace, of the first layer alone."""
    options = ("method=did", "method.head=outside", "model.layers=1", "projection=kronecker")
    return finish(tmp_path_factory.mktemp("out"), *options)


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """Return sentences of the task's words."""
    return SENTENCES


@pytest.fixture(scope="session")
def logits() -> Callable[[Path], torch.Tensor]:
    """Return the function from an artifact's file to its model's logits for the sentences."""

    def of(file: Path) -> torch.Tensor:
        model, tokenizer, _, _ = restored(file)
        with torch.inference_mode():
            rows = tokenizer(SENTENCES, padding=True, return_tensors="pt")
            found: torch.Tensor = model(**rows).logits
        return found

    return of
