"""What a run reports comes from rows that chose nothing, after its last epoch, row by row."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from said_lightning.data.readers import TaskData, read_task
from said_lightning.models.encoder import load
from said_lightning.runs import record as records
from said_lightning.runs.checkpoint import NUMBERS
from said_lightning.runs.record import Record
from said_lightning.runs.scores import SCORES, read_scores
from said_lightning.training import run as training
from said_lightning.training.evaluation import Report
from said_lightning.training.run import run

WORDS = ["good", "fine", "great", "bad", "dull", "poor"]
FAST = ("trainer.step_ratio=400", "trainer.epochs=3")


def score(folder: Path, record: Record) -> np.ndarray:
    """Return a run's scores, which are there."""
    found = read_scores(folder, record)
    assert found is not None
    return found


def epochs(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def tested(tmp_path: Path) -> str:
    """Return the override for SST-2 with a labelled test set: 24, 10 and 7 rows, 5 of one label."""
    (tmp_path / "data" / "SST-2").mkdir(parents=True)
    for name, count in (("train", 24), ("dev", 10), ("test", 7)):
        lines = [f"the {name} a {WORDS[i % 6]} film\t{int(i % 6 < 3)}" for i in range(count)]
        if name == "test":
            lines[-2:] = [line.replace("\t0", "\t1") for line in lines[-2:]]
        path = tmp_path / "data" / "SST-2" / f"{name}.tsv"
        path.write_text("\n".join(["sentence\tlabel", *lines]))
    return f"task.data_dir={tmp_path / 'data'}"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[TaskData]:
    """Return the data of each run, as it read them."""
    found: list[TaskData] = []

    def reading(task: Any) -> TaskData:
        found.append(read_task(task))
        return found[-1]

    monkeypatch.setattr("said_lightning.data.datamodule.read_task", reading)
    return found


def test_the_last_epoch_on_the_test_rows_is_the_metric(
    compose: Any, tmp_path: Path, tested: str
) -> None:
    spec = compose(tmp_path / "out", tested, "task.rows.test=null", *FAST)
    record = run(spec)
    *before, report = epochs(spec.folder)
    assert [row["select"] for row in before] == ["dev"] * 3
    assert (report["epoch"], report["report"]) == (3, "test")
    assert (record.protocol, record.train_rows) == ("splits", 24)
    assert record.select is not None
    assert record.report is not None
    assert (record.select.split, record.select.rows, record.select.trivial) == ("dev", 10, 0.6)
    assert (record.report.split, record.report.rows) == ("test", 7)
    assert record.select.value == before[-1]["select/accuracy"]
    assert record.metric.value == record.report.value == report["report/accuracy"]
    assert record.metric.trivial == record.report.trivial == 5 / 7
    assert record.metrics == {"accuracy": record.metric.value}


def test_the_scores_are_those_of_the_weights_that_are_saved_in_the_order_of_the_file(
    compose: Any, tmp_path: Path, tested: str
) -> None:
    spec = compose(tmp_path / "out", tested, "task.rows.test=null", "method=full", *FAST)
    record, config = run(spec), spec.config
    tokenizer = load(config.model, config.task, 0).tokenizer
    model = AutoModelForSequenceClassification.from_pretrained(spec.folder / "checkpoint").eval()
    found = []
    for text, label in read_task(config.split_task).report:
        logits = model(**tokenizer(text, return_tensors="pt")).logits
        found.append(float(int(logits.argmax()) == label))
    assert score(spec.folder, record).tolist() == found


def test_rows_are_parted_alike_whatever_seed_and_method(
    compose: Any, tmp_path: Path, seen: list[TaskData]
) -> None:
    for overrides in (["seed=0"], ["seed=1"], ["method=full"], ["method=did", "d=30"]):
        run(compose(tmp_path, "trainer.epochs=1", *overrides))
    splits = [[list(data.train), list(data.select), list(data.report)] for data in seen]
    assert len(splits) == 4
    assert all(one == splits[0] for one in splits)
    assert [len(rows) for rows in splits[0]] == [22, 2, 10]


def test_the_model_sees_report_rows_after_the_last_epoch_alone(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    answer = Report.answer

    def answering(self: Report, trainer: Any, *rest: Any) -> Any:
        asked.append(trainer.current_epoch)
        return answer(self, trainer, *rest)

    monkeypatch.setattr(Report, "answer", answering)
    run(compose(tmp_path, "trainer.epochs=3"))
    assert asked == [2]
    run(compose(tmp_path, "trainer.epochs=3", "trainer.stop_at=0"))
    assert asked == [2, 0]


def test_a_run_that_grows_reports_after_each_epoch_which_leaves_its_training_as_it_is(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder's dropout is off for the report rows and on again in the next epoch."""
    grows = ("d=500", "trainer.grow_from=20", "trainer.epochs=3")
    spec = compose(tmp_path / "with", *grows)
    record = run(spec)
    reports = [row["report/accuracy"] for row in epochs(spec.folder) if "report" in row]
    assert [stage.value for stage in record.stages] == reports
    with monkeypatch.context() as patch:
        patch.setattr(Report, "on_train_epoch_end", lambda *_: None)
        without = compose(tmp_path / "without", *grows)
        run(without)
    trained = [load_file(one.folder / "checkpoint" / NUMBERS)["theta"] for one in (spec, without)]
    assert torch.equal(*trained)


def test_where_dev_chooses_the_best_epoch_counts_and_its_rows_are_kept(
    compose: Any, tmp_path: Path
) -> None:
    found = []
    for seed in range(4):
        spec = compose(tmp_path, "protocol=dev", f"seed={seed}", *FAST, "trainer.lambda_lr=1")
        record = run(spec)
        values = [row["select/accuracy"] for row in epochs(spec.folder)]
        assert all(row["select"] == "dev" for row in epochs(spec.folder))
        assert len(values) == 3
        assert record.best is not None
        assert record.metric.value == max(values) == record.best.value
        assert record.report is not None
        assert record.select == record.report
        assert (record.report.split, record.report.value) == ("dev", values[-1])
        assert (record.protocol, record.train_rows) == ("dev", 24)
        assert score(spec.folder, record).mean() == record.metric.value
        found.append(values)
    assert any(max(values) > values[-1] for values in found), "no run's best was before its last"


@pytest.mark.parametrize("method", ["said", "full"])
def test_a_runs_scores_have_its_accuracy_as_their_mean(
    compose: Any, tmp_path: Path, method: str
) -> None:
    spec = compose(tmp_path, f"method={method}", *FAST)
    record = run(spec)
    assert score(spec.folder, record).mean() == record.metric.value
    assert set(score(spec.folder, record)) <= {0.0, 1.0}


def pairs(folder: Path) -> None:
    """Write 40 and 31 pairs of sentences with a score of 0 to 5, which words give away."""
    for name, count in (("train", 40), ("dev", 31)):
        lines = [
            f"a film\tthe {WORDS[i % 6]} film\t{4.5 - 0.8 * (i % 6) + i % 7 / 20}"
            for i in range(count)
        ]
        (folder / f"{name}.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *lines]))


def sentences(folder: Path) -> None:
    """Write 40 and 31 sentences as CoLA has them."""
    for name, count in (("train", 40), ("dev", 31)):
        lines = [f"x\t{int(i % 6 < 3)}\t\ta {WORDS[i % 6]} film" for i in range(count)]
        (folder / f"{name}.tsv").write_text("\n".join(lines))


@pytest.mark.parametrize(("task", "write"), [("stsb", pairs), ("cola", sentences)])
def test_scores_of_a_metric_that_is_no_mean_have_it_within_1_over_n(
    compose: Any, tmp_path: Path, task: str, write: Any
) -> None:
    write(tmp_path)
    spec = compose(tmp_path / "out", f"task={task}", f"task.data_dir={tmp_path}", *FAST)
    record = run(spec)
    assert record.status == "done", record.reason
    scores = score(spec.folder, record)
    assert len(scores) == 31
    assert record.metric.value is not None
    assert abs(scores.mean() - record.metric.value) < 1 / 31


class Killed(BaseException):
    """Ends a run at once, as a kill does: nothing catches it."""


def test_a_kill_between_scores_and_result_leaves_a_run_that_ends_alike(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(compose(tmp_path / "whole", *FAST))
    spec = compose(tmp_path / "killed", *FAST)

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(training, "stages", killed)
        with pytest.raises(Killed):
            run(spec)
    assert (spec.folder / SCORES).exists()
    assert records.read(spec.folder / records.RESULT).status == "waiting"
    with monkeypatch.context() as patch:
        patch.setattr("said_lightning.training.module.Classifier.training_step", killed)
        again = run(spec)
    assert again.status == "done", again.reason
    assert again.scores == whole.scores
    assert (again.metric, again.report, again.select) == (whole.metric, whole.report, whole.select)
    assert epochs(spec.folder) == epochs(compose(tmp_path / "whole", *FAST).folder)


def test_a_signal_while_the_report_rows_are_answered_is_resumed_to_the_same_end(
    compose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = (*FAST, "trainer.eval_batch_size=2")
    whole = run(compose(tmp_path / "whole", *overrides))
    spec = compose(tmp_path / "stopped", *overrides)
    answer = Report.answer

    def asked(self: Report, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return answer(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Report, "answer", asked)
        first = run(spec)
    assert (first.status, first.reason) == ("preempted", "SIGTERM")
    assert not any("report" in row for row in epochs(spec.folder))
    again = run(spec)
    assert again.status == "done", again.reason
    assert (again.scores, again.metric) == (whole.scores, whole.metric)
