"""A run of a broken model is failed, with its reason: no score stands for outputs that are none."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from said_lightning.training.journal import not_finite
from said_lightning.training.module import Classifier
from said_lightning.training.run import run

ONE_STEP = ("task.train_limit=8", "trainer.epochs=1")
SELECT = "FloatingPointError: the outputs on the select rows are not finite in epoch 1"


def result(spec: Any) -> Any:
    """Read the record that a run left."""
    return json.loads((spec.folder / "result.json").read_text())


@pytest.mark.parametrize("method", ["full", "said", "did"])
@pytest.mark.parametrize("protocol", ["splits", "dev"])
def test_a_model_that_its_last_step_broke_is_a_failed_run(
    compose: Any, tmp_path: Path, method: str, protocol: str
) -> None:
    spec = compose(tmp_path, f"method={method}", f"protocol={protocol}", "lr=1e30", *ONE_STEP)
    assert run(spec).status == "failed"
    found = result(spec)
    assert (found["reason"], found["metric"]["value"], found["best"]) == (SELECT, None, None)
    (row,) = (spec.folder / "metrics.jsonl").read_text().splitlines()
    assert json.loads(row)["select/accuracy"] is None
    assert json.loads(row)["train/loss"] > 0
    assert not (spec.folder / "scores.safetensors").exists()


@pytest.mark.parametrize("method", ["full", "said", "did"])
@pytest.mark.parametrize("lr", ["1e-45", "5e-324"])
def test_a_rate_that_changes_nothing_gives_the_untrained_models_score(
    compose: Any, tmp_path: Path, method: str, lr: str
) -> None:
    record = run(compose(tmp_path, f"method={method}", f"lr={lr}", *ONE_STEP))
    assert (record.status, record.lr) == ("done", float(lr))
    assert record.metric.value is not None


@pytest.mark.parametrize("overrides", [["trainer.grow_from=10"], ["method.head=outside"]])
def test_other_ways_to_train_fail_alike(compose: Any, tmp_path: Path, overrides: list[str]) -> None:
    assert run(compose(tmp_path, "lr=1e30", *ONE_STEP, *overrides)).reason == SELECT


def test_a_regression_fails_alike(compose: Any, tmp_path: Path) -> None:
    for name, text in (("train.tsv", "a film"), ("dev.tsv", "the plot")):
        rows = [f"{text}\t{word} film\t{score}" for word, score in (("fine", 4.5), ("poor", 0.5))]
        (tmp_path / name).write_text("\n".join(["sentence1\tsentence2\tscore", *rows * 4]))
    task = ("task=stsb", f"task.data_dir={tmp_path}")
    assert run(compose(tmp_path / "out", *task, "lr=1e30", *ONE_STEP)).reason == SELECT


def test_a_run_that_is_resumed_fails_alike(compose: Any, tmp_path: Path, interrupt: Any) -> None:
    spec = compose(tmp_path, "lr=1e30", "trainer.save_every=0", "trainer.epochs=1")
    place = (Classifier, "training_step")
    assert interrupt(place, 2, signal.SIGTERM, lambda: run(spec)).status == "preempted"
    assert run(spec).reason == "FloatingPointError: the training loss is nan in epoch 1"
    assert not list((spec.folder / "checkpoint").glob("state*"))


@pytest.fixture
def spoil(encoder: Path, tmp_path: Path) -> Any:
    """Return what makes an encoder that knows one of its words as NaN."""

    def one(word: str) -> Path:
        folder = tmp_path / "encoder"
        shutil.copytree(encoder, folder)
        weights = load_file(folder / "model.safetensors")
        row = PreTrainedTokenizerFast.from_pretrained(folder).convert_tokens_to_ids(word)
        weights["embeddings.word_embeddings.weight"][row] = torch.nan
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return folder

    return one


@pytest.mark.parametrize("method", ["full", "said"])
def test_outputs_on_the_report_rows_alone_count(
    compose: Any, tmp_path: Path, spoil: Any, method: str
) -> None:
    lines = [f"{'the film ' * (1 + i // 2)}\t{i % 2}" for i in range(12)]
    (tmp_path / "train.tsv").write_text("\n".join(["sentence\tlabel", *lines]))
    (tmp_path / "dev.tsv").write_text("\n".join(["sentence\tlabel", "dull film\t0", "a film\t1"]))
    where = (f"model.path={spoil('dull')}", f"task.data_dir={tmp_path}")
    record = run(compose(tmp_path / "out", *where, f"method={method}", "trainer.epochs=1"))
    assert record.reason == (
        "FloatingPointError: the outputs on the report rows are not finite in epoch 1"
    )


@pytest.mark.parametrize("method", ["full", "did"])
def test_a_weight_that_no_row_read_counts_too(
    compose: Any, tmp_path: Path, spoil: Any, method: str
) -> None:
    spec = compose(tmp_path, f"model.path={spoil('[UNK]')}", f"method={method}", *ONE_STEP)
    assert run(spec).reason == (
        "FloatingPointError: model.bert.embeddings.word_embeddings.weight is not finite after the "
        "last step"
    )


def test_a_loss_that_overflows_counts_though_the_outputs_are_finite(
    compose: Any, tmp_path: Path, encoder: Path
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(
        encoder, id2label={0: "negative", 1: "positive"}
    )
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor([3e38, -3e38]))
    model.save_pretrained(tmp_path / "model")
    PreTrainedTokenizerFast.from_pretrained(encoder).save_pretrained(tmp_path / "model")
    kept = (f"model.path={tmp_path / 'model'}", "model.head=keep")
    record = run(compose(tmp_path / "out", *kept, *ONE_STEP))
    assert record.reason == "FloatingPointError: the training loss is inf in epoch 1"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"epoch": 1, "select": "dev", "select/f1": 0.0, "train/loss": 1e-45}, None),
        ({"select/f1": float("nan"), "train/loss": float("-inf")}, "the training loss is -inf"),
        ({"select/loss": float("inf")}, "the loss on the select rows is inf"),
        ({"train/pearson": float("nan")}, "the outputs on the train rows are not finite"),
        ({"report/mm/f1": float("nan")}, "the outputs on the report rows are not finite"),
    ],
)
def test_a_row_of_metrics_says_what_is_broken(row: dict[str, Any], expected: str | None) -> None:
    assert not_finite(row) == expected
