"""Tasks train and evaluate end to end, from original files, with their official metrics."""

import os
from pathlib import Path
from typing import Any

import pytest

from said_lightning.training.run import run

METRICS = {
    "cola": {"matthews"},
    "mrpc": {"accuracy", "f1"},
    "sst2": {"accuracy"},
    "stsb": {"pearson", "spearman"},
}


@pytest.fixture(scope="session")
def original() -> Path:
    """Return the folder of original GLUE files, which is not part of the project."""
    beside = Path(__file__).parents[3] / "shared" / "glue"
    folder = Path(os.environ.get("SAID_GLUE_DIR", beside))
    if not folder.is_dir():
        pytest.skip("no original GLUE files: SAID_GLUE_DIR names no folder")
    return folder


@pytest.mark.parametrize("task", METRICS)
def test_an_original_task_trains_and_is_scored(
    compose: Any, original: Path, tmp_path: Path, task: str
) -> None:
    whole = [f"task={task}", f"task.data_dir={original}"]
    counts = {
        "cola": (8551, 1043),
        "mrpc": (3668, 408),
        "sst2": (67349, 872),
        "stsb": (5749, 1500),
    }
    rows = [f"task.rows.{s}={n}" for s, n in zip(("train", "eval"), counts[task], strict=True)]
    limits = ["task.train_limit=200", "task.eval_limit=100", "task.max_length=32"]
    record = run(compose(tmp_path, *whole, *rows, *limits))
    assert record.status == "done", record.reason
    assert set(record.metrics) == METRICS[task]
    assert record.metric.name is not None
    assert record.metric.value == record.metrics[record.metric.name]


def test_mnli_is_scored_on_matched_and_mismatched(compose: Any, tmp_path: Path) -> None:
    header = "sentence1\tsentence2\tgold_label"
    good = "the film\ta good film\tentailment"
    bad = "the film\ta bad plot\tcontradiction"
    (tmp_path / "MNLI").mkdir()
    for name, rows in {
        "train.tsv": [good, bad] * 8,
        "dev_matched.tsv": [good, bad, bad, bad],
        "dev_mismatched.tsv": [good, good, good, bad],
    }.items():
        (tmp_path / "MNLI" / name).write_text("\n".join([header, *rows]))
    rows = ["task.rows.train=16", "task.rows.eval=4", "task.rows.also={mismatched:null}"]
    job = compose(tmp_path / "out", "task=mnli", f"task.data_dir={tmp_path}", *rows)
    record = run(job)
    assert record.status == "done", record.reason
    assert set(record.metrics) == {"accuracy", "mismatched/accuracy"}
    assert record.metric.value == record.metrics["accuracy"]
    assert record.metric.trivial == 0.75
