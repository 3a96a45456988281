"""The benchmarks measure what they say; how fast things are is theirs to show, not a test's."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import BertConfig, BertForSequenceClassification

from said_lightning.tools.bench import table
from said_lightning.tools.bench.claims import Claim
from said_lightning.tools.bench.contenders import CONTENDERS
from said_lightning.tools.bench.measure import (
    make_batch,
    peak_bytes,
    ratio,
    state_bytes,
    step_times,
    update_times,
)
from said_lightning.tools.bench.models import MODELS

# All kinds of tensors that bert-tiny has, in a hundredth of its weights.
SMALL = BertConfig(
    vocab_size=1100,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=32,
)
BENCHMARKS = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_contender_trains(name: str) -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(SMALL)
    contender = CONTENDERS[name](model, 100)
    batch = make_batch(model, 4, 8)
    losses = []
    for group in contender.optimizer.param_groups:
        group["lr"] = 0.02
    contender.model.eval()  # without dropout the loss can only fall by training
    for _ in range(4):
        losses.append(float(contender.model(**batch).loss))
        contender.step(batch)
    assert losses[-1] < losses[0]


def test_times_are_taken_in_turn_and_updates_are_a_part_of_steps() -> None:
    names, shape = ["full", "said"], (4, 16)
    steps = step_times(names, "bert-tiny", 100, [shape], rounds=3)
    updates = update_times(names, "bert-tiny", 100, shape, rounds=3)
    assert all(len(taken) == 3 for taken in (*steps.values(), *updates.values()))
    for name in names:
        assert 0 < min(updates[name]) < max(steps[name])
    assert ratio({"a": [2.0, 9.0, 4.0], "b": [1.0, 3.0, 1.0]}, "a", "b") == 3


def test_peak_memory_counts_the_moments() -> None:
    numbers = sum(weight.numel() for weight in MODELS["bert-tiny"]().parameters())
    full, said = (peak_bytes(name, "bert-tiny", 100, (2, 8)) for name in ("full", "said, no copy"))
    assert full - said > 1.5 * 4 * numbers


def test_what_a_subspace_keeps_does_not_grow_with_the_model() -> None:
    assert 0 < state_bytes("bert-tiny", 1000) == state_bytes("bert-mini", 1000) < 1e6


def test_a_claim_holds_up_to_its_bound() -> None:
    assert Claim("x", 1.0, most=1.0).holds
    assert not Claim("x", 1.01, most=1.0).holds
    assert not Claim("x", 1.99, least=2.0).holds


def test_a_claim_that_fails_ends_a_benchmark_with_1() -> None:
    code = "from said_lightning.tools.bench.claims import *; assert_all([Claim('x', 2, most=1)])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stdout == "FAILS  x: 2 (<= 1)\n"


def test_the_figures_without_a_gpu_are_called_unmeasured() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    (script,) = (path for path in BENCHMARKS if path.stem == "gpu")
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert ended.returncode == 0
    assert "unmeasured" in ended.stdout


def test_a_subspace_is_measured_at_every_d_and_what_has_none_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table, "SHAPE", (2, 8))
    monkeypatch.setattr(table, "peak_bytes", lambda *cell: len(cell))  # a process each
    found = table.bench(["bert-toy"], [60, 90], 1)
    rows = found["steps"]["bert-toy"]
    assert [row["d"] for row in rows if row["contender"] == "said kronecker"] == [60, 90]
    assert [row["d"] for row in rows if row["contender"] == "full"] == [None]
    assert {row["contender"] for row in rows} == set(CONTENDERS)
    assert all(row["step_s"] > 0 and row["peak_bytes"] == 4 for row in rows)
    table.show(found, Console(width=100))
    assert "bert-toy, batch 2 x 8" in capsys.readouterr().out
