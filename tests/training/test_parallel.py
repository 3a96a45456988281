"""Two processes train what one process with twice the batch does, and send d numbers a step."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from safetensors.torch import load_file
from torch import Tensor, distributed

from said_lightning.callback import SubspaceCallback
from said_lightning.config import MethodConfig, problems, run_folder
from said_lightning.data.share import Share
from said_lightning.errors import UserError
from said_lightning.runs.record import Record
from said_lightning.training import run

ROOT = Path(__file__).parents[2]
D = 5554
TOLERANCE = 1e-5
Numbers = dict[str, Tensor]
Train = Callable[..., tuple[Record, Numbers]]


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide GPUs: there may be one, where two are asked for."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="session")
def steady(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The override for the tiny encoder without dropout, whose noise depends on the process."""
    folder = tmp_path_factory.mktemp("steady") / "encoder"
    shutil.copytree(encoder, folder)
    config = json.loads((folder / "config.json").read_text())
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config | none))
    return f"model.path={folder}"


@pytest.fixture
def train(compose: Any, tmp_path: Path, steady: str) -> Train:
    """Train without dropout and return the record and what was trained."""
    calls = iter(range(100))

    def one(*overrides: str) -> tuple[Record, Numbers]:
        cfg = compose(tmp_path / str(next(calls)), steady, "lr=0.03", *overrides)
        record = run(cfg)
        assert record.status == "done", record.reason
        (file,) = (Path(cfg.out) / run_folder(cfg) / "checkpoint").glob("*.safetensors")
        return record, load_file(file)

    return one


def assert_same(one: Numbers, other: Numbers) -> None:
    """Compare what was trained, relative to its norm."""
    assert set(one) == set(other)
    # A key's bias moves all attention scores of a query alike, which softmax does not see: its
    # gradient is rounding alone, and Adam steps as far on that as on any other.
    for name in (name for name in one if not name.endswith("key.bias")):
        assert (one[name] - other[name]).norm() <= TOLERANCE * other[name].norm(), name


# 21 rows: two whole batches and one of a single row, of which one process has none.
UNEVEN = "task.train_limit=21"


@pytest.mark.parametrize(
    "overrides",
    [
        ["method=said", "method.head=outside"],
        ["method=said", UNEVEN],
        ["method=did", UNEVEN, "trainer.accumulate=2", "trainer.clip=0.01"],
        ["method=full", UNEVEN, "lr=1e-4"],
    ],
    ids=" ".join,
)
def test_two_processes_train_what_one_with_twice_the_batch_does(
    train: Train, overrides: list[str]
) -> None:
    together, shared = train(*overrides, "trainer.batch_size=5", "trainer.devices=2")
    alone, whole = train(*overrides, "trainer.batch_size=10")
    assert_same(shared, whole)
    assert together.metrics == alone.metrics
    assert together.train_metric == alone.train_metric
