"""Two processes train what one process with twice the batch does, and send d numbers a step."""

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning import Trainer
from safetensors.torch import load_file
from torch import Tensor, distributed

from said_lightning.data.datamodule import WEIGHT, Share
from said_lightning.data.tokens import Encoded
from said_lightning.models.encoder import load
from said_lightning.projections.core import random
from said_lightning.runs.record import Record
from said_lightning.training.module import Classifier
from said_lightning.training.run import run

pytestmark = pytest.mark.usefixtures("on_the_cpu")

WORDS = ["good", "fine", "great", "bad", "dull", "poor"]
TOLERANCE = 1e-5
Numbers = dict[str, Tensor]
Train = Callable[..., tuple[Record, Numbers]]


@pytest.fixture(scope="session")
def steady(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the override for the tiny encoder without dropout, which depends on the process."""
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
        spec = compose(tmp_path / str(next(calls)), steady, "lr=0.03", *overrides)
        record = run(spec)
        assert record.status == "done", record.reason
        (file,) = (spec.folder / "checkpoint").glob("*.safetensors")
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
    assert_shared(train, *overrides)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train_what_one_with_twice_the_batch_does(train: Train) -> None:
    assert_shared(train, "method=said", UNEVEN)


def assert_shared(train: Train, *overrides: str) -> None:
    """Compare two processes with one: what was trained, and all metrics."""
    together, shared = train(*overrides, "trainer.batch_size=5", "trainer.devices=2")
    alone, whole = train(*overrides, "trainer.batch_size=10")
    assert_same(shared, whole)
    assert together.metrics == alone.metrics
    assert together.train_metric == alone.train_metric
    assert together.scores is not None
    assert (together.scores, together.select, together.report) == (
        *(alone.scores, alone.select, alone.report),
    )


def test_a_regressions_metrics_count_every_row_once(train: Train, tmp_path: Path) -> None:
    """Three evaluation rows by twos: in the last batch one process has none."""
    for name, rows in (("train.tsv", 7), ("dev.tsv", 3)):
        lines = [f"a film\tthe {WORDS[i % 6]} film\t{i / 2}" for i in range(rows)]
        (tmp_path / name).write_text("\n".join(["sentence1\tsentence2\tscore", *lines]))
    task = ["task=stsb", f"task.data_dir={tmp_path}", "trainer.epochs=1"]
    sizes = ["trainer.batch_size=2", "trainer.eval_batch_size=1", "trainer.devices=2"]
    together, shared = train(*task, *sizes)
    alone, whole = train(*task, "trainer.batch_size=4", "trainer.eval_batch_size=2")
    assert_same(shared, whole)
    assert set(together.metrics) == {"pearson", "spearman"}
    assert together.metrics == pytest.approx(alone.metrics, abs=1e-5)


SENDING = ("all_reduce", "broadcast", "all_gather", "all_gather_into_tensor", "reduce_scatter")


def test_a_step_sends_d_numbers_and_d_alone(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    d = 2000
    sent: list[int] = []
    starts: list[int] = []
    wrapped: list[bool] = []

    def watch(name: str) -> None:
        original = getattr(distributed, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            sent.extend(part.nbytes for part in arguments if isinstance(part, Tensor))
            return original(*arguments, **options)

        monkeypatch.setattr(distributed, name, watched)

    for name in SENDING:
        watch(name)
    seed = Classifier.on_train_batch_start

    def start(self: Classifier, batch: Any, index: int) -> None:
        starts.append(len(sent))
        wrapped.append(self.trainer.strategy.model is not self)
        seed(self, batch, index)

    monkeypatch.setattr(Classifier, "on_train_batch_start", start)
    train(f"d={d}", "trainer.batch_size=2", "trainer.accumulate=2", "trainer.devices=2")
    batches = [sent[one:after] for one, after in pairwise(starts)][:5]  # of the first epoch
    assert [batch.count(4 * d) for batch in batches] == [0, 1, 0, 1, 0]
    others = [sum(batch) - 4 * d * batch.count(4 * d) for batch in batches]
    # A number of Lightning's, and two of ours: whether a signal has come, and whether to save.
    assert max(others) <= 24
    assert not any(wrapped)


def test_an_overflow_in_one_process_skips_the_step_in_all(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the other one to step on it, its weights would not be finite, nor the loss of all."""
    training_step = Classifier.training_step
    lost: list[Tensor] = []

    def overflow(self: Classifier, batch: Any, index: int) -> Tensor:
        assert self.subspace is not None
        if index == 2:
            lost.append(self.subspace.theta.detach().clone())
        return training_step(self, batch, index) * (float("inf") if index == 1 else 1.0)

    def before(self: Classifier, *_: Any, **__: Any) -> None:
        assert self.subspace is not None
        if self.subspace.theta.grad is not None and not self.subspace.theta.grad.isfinite().all():
            lost.append(self.subspace.theta.detach().clone())

    monkeypatch.setattr(Classifier, "training_step", overflow)
    monkeypatch.setattr(Classifier, "on_before_optimizer_step", before)
    half = ["trainer.precision=16-mixed", "trainer.devices=2", "trainer.batch_size=4"]
    _, numbers = train(*half, "trainer.epochs=1")
    assert torch.equal(*lost)
    assert all(part.isfinite().all() for part in numbers.values())


@given(st.integers(1, 40), st.integers(1, 5))
def test_shares_are_the_batch_and_their_weighted_mean_is_its_mean(n: int, processes: int) -> None:
    batch = np.random.default_rng(n).permutation(100)[:n]
    split = Encoded({}, np.arange(101), np.arange(100))

    def pad(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        return {"labels": torch.tensor([float(row["labels"]) for row in rows])}

    shares: list[Any] = [Share(split, pad, rank, processes)[batch] for rank in range(processes)]
    counted = torch.cat([share["labels"] for share in shares if share[WEIGHT]])
    assert sorted(counted.tolist()) == sorted(batch)
    means = [share[WEIGHT] * float(share["labels"].mean()) for share in shares]
    assert sum(means) / processes == pytest.approx(batch.mean())


def test_dropout_differs_by_process_and_the_first_ones_is_that_of_one_alone(
    compose: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = compose(tmp_path).config
    model = load(config.model, config.task, 0).model
    module = Classifier(model, config.task, config.trainer, None, seed=3)
    module.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    seeds = []
    for rank in range(3):
        monkeypatch.setattr(Classifier, "global_rank", rank)
        module.on_train_batch_start({}, 7)
        seeds.append(torch.initial_seed())
    assert len(set(seeds)) == 3
    assert seeds[0] == random.key(3, "0/7", "dropout")[0]
