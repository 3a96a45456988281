"""Two processes train what one process with twice the batch does, and send d numbers a step."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from multiprocessing import active_children
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.strategies import DDPStrategy, FSDPStrategy, Strategy
from safetensors.torch import load_file
from torch import Tensor, distributed

from said_lightning.config.schema import Config, MethodConfig, run_folder, typed
from said_lightning.data.datamodule import WEIGHT, Share
from said_lightning.data.tokens import Encoded
from said_lightning.errors import UserError
from said_lightning.models.encoder import load
from said_lightning.projections.core import random
from said_lightning.runs.record import Record
from said_lightning.training.callbacks import SubspaceCallback
from said_lightning.training.module import Classifier
from said_lightning.training.run import run

WORDS = ["good", "fine", "great", "bad", "dull", "poor"]
TOLERANCE = 1e-5
Numbers = dict[str, Tensor]
Train = Callable[..., tuple[Record, Numbers]]


@pytest.fixture(autouse=True)
def _on_the_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide GPUs, of which there may be one where two are asked for."""
    if request.node.get_closest_marker("gpu"):
        return
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
    assert max(others) <= 16  # whether a signal has come: a number of Lightning's, and one of ours
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
    config = typed(compose(tmp_path))
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


def test_one_process_writes_the_folder(compose: Any, tmp_path: Path) -> None:
    contents = []
    for devices in (1, 2):
        cfg = compose(tmp_path, f"trainer.devices={devices}", "trainer.epochs=2", "logger=csv")
        assert run(cfg).status == "done"
        folder = tmp_path / run_folder(cfg)
        contents.append({path.relative_to(folder) for path in folder.rglob("*")})
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [row["epoch"] for row in rows] == [1, 2]
        assert len((folder / "csv" / "metrics.csv").read_text().splitlines()) == 1 + 4
    assert contents[0] == contents[1]


@pytest.mark.parametrize("victim", ["first", "other"])
def test_when_a_process_fails_the_run_has_failed_and_all_processes_end(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    def fail(self: Classifier, batch: Any, index: int) -> None:
        if self.global_step == 2 and victim == "first":
            raise RuntimeError("out of memory")
        if self.global_step == 2:
            active_children()[0].kill()

    environment = dict(os.environ)
    monkeypatch.setattr(Classifier, "on_train_batch_start", fail)
    record = run(compose(tmp_path, "trainer.devices=2"))
    assert record.status == "failed"
    assert (record.reason == "RuntimeError: out of memory") == (victim == "first")
    assert not active_children()
    assert not distributed.is_initialized()
    assert dict(os.environ) == environment


def test_when_a_process_dies_before_the_processes_have_met_the_run_has_failed(
    compose: Any, tmp_path: Path
) -> None:
    def strike() -> None:
        while not (others := active_children()):
            time.sleep(0.01)
        others[0].kill()

    thread = Thread(target=strike)
    thread.start()
    record = run(compose(tmp_path, "trainer.devices=2"))
    thread.join()
    assert record.reason == "RuntimeError: process 1 of 2 ended before training"
    assert not active_children()


def test_a_signal_to_one_process_ends_all_and_the_run_resumes_to_the_same_bits(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(folder: str) -> tuple[Record, Numbers]:
        cfg = compose(tmp_path / folder, "trainer.devices=2", "trainer.batch_size=4")
        record = run(cfg)
        numbers = Path(cfg.out) / run_folder(cfg) / "checkpoint" / "subspace.safetensors"
        return record, load_file(numbers) if record.status == "done" else {}

    def strike(step: int, victim: Callable[[], int | None]) -> None:
        def start(self: Classifier, batch: Any, index: int) -> None:
            if self.global_step == step:
                os.kill(victim() or 0, signal.SIGTERM)
            seed(self, batch, index)

        monkeypatch.setattr(Classifier, "on_train_batch_start", start)

    seed = Classifier.on_train_batch_start
    _, whole = outcome("whole")
    for step, victim in ((1, lambda: active_children()[0].pid), (4, os.getpid)):
        strike(step, victim)
        record, _ = outcome("struck")
        assert (record.status, record.reason) == ("preempted", "SIGTERM")
        assert not active_children()
    monkeypatch.setattr(Classifier, "on_train_batch_start", seed)
    record, numbers = outcome("struck")
    assert record.status == "done"
    assert all(torch.equal(numbers[name], whole[name]) for name in whole)


def test_a_sweep_runs_each_job_in_processes_of_its_own(main: Any, tmp_path: Path) -> None:
    code, out, _ = main("-m", "trainer.devices=2", "trainer.epochs=1", "lr=1e30,0.03")
    assert code == 1
    assert out.count("1 of 2 runs done") == 1
    records = [json.loads(path.read_text()) for path in tmp_path.rglob("result.json")]
    assert sorted(record["status"] for record in records) == ["done", "failed"]


@pytest.mark.parametrize("strategy", [DDPStrategy(), FSDPStrategy()])
def test_what_does_not_suit_a_subspace_is_refused(strategy: Strategy) -> None:
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    trainer._accelerator_connector.strategy = strategy
    callback = SubspaceCallback(
        Config(method=MethodConfig(name="said"), projection={"name": "dense"})
    )
    with pytest.raises(UserError) as caught:
        callback.setup(trainer, LightningModule(), "fit")
    (message,) = caught.value.messages
    name = type(strategy).__name__
    assert message.startswith(f"strategy={name}: a subspace trains on one device, or data parallel")
    assert "sharded weights (FSDP, DeepSpeed) are not supported" in message


def test_more_devices_than_there_are_are_told_before_anything_starts(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    with pytest.raises(UserError) as caught:
        run(compose(tmp_path, "trainer.devices=2"))
    assert caught.value.messages == ("trainer.devices=2: this machine has 1",)
    assert list(tmp_path.iterdir()) == []
