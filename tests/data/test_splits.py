"""Three splits: rows to train on, rows that choose, and rows that report, each row in one alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from said_lightning.data.readers import TaskData, read_task
from said_lightning.data.splits import expected_rows
from said_lightning.data.task import FileSource, TaskConfig
from said_lightning.data.validate import validate_task
from said_lightning.errors import UserError

NAMES = ["ham", "spam"]
DECIDED = {"select": None, "report": None}
Row = tuple[str, int]
Mine = Callable[..., TaskConfig]


def rows(split: str, count: int) -> list[Row]:
    """Return rows that are found in no other split: three hams to a spam."""
    return [(f"{split} {i}", int(i % 4 == 0)) for i in range(count)]


def write(path: Path, split: list[Row], label: str = "kind") -> None:
    """Write rows in the format that a file's name ends in."""
    if path.suffix == ".jsonl":
        lines = [json.dumps({"text": text, label: NAMES[kind]}) for text, kind in split]
    else:
        tab = "," if path.suffix == ".csv" else "\t"
        lines = [f"text{tab}{label}", *(f"{text}{tab}{NAMES[kind]}" for text, kind in split)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(params=["csv", "tsv", "jsonl"])
def mine(request: pytest.FixtureRequest, tmp_path: Path) -> Mine:
    """Return a function that makes a user's task of 100 rows to train on, 30 of dev, 20 of test."""
    files = {name: f"{name}.{request.param}" for name in ("train", "dev", "test")}
    for name, count in (("train", 100), ("dev", 30), ("test", 20)):
        write(tmp_path / files[name], rows(name, count))

    def make(test: bool = True, **changes: Any) -> TaskConfig:
        source = FileSource(train=files["train"], eval=files["dev"], text=["text"], label="kind")
        source.test = files["test"] if test else None
        facts: dict[str, Any] = {"name": "mine", "labels": NAMES, "metric": "accuracy"}
        facts |= {"metrics": ["accuracy"], "data_dir": str(tmp_path), "files": source}
        return TaskConfig(**facts, **changes)

    return make


def texts(split: Any) -> list[str]:
    """Return the texts of a split, in order."""
    return [text for text, _ in split]


def message(task: TaskConfig) -> str:
    """Return the one message about a task, given before anything is read and when it is."""
    (found,) = validate_task(task)
    with pytest.raises(UserError) as caught:
        read_task(task)
    assert caught.value.messages == (found,)
    return found


def assert_apart(data: TaskData) -> None:
    """Assert that no row that reports is trained on or selects, and none that selects trains."""
    train, select, report = (set(texts(one)) for one in (data.train, data.select, data.report))
    assert not report & (train | select)
    assert not train & select


def test_with_a_labelled_test_set_dev_selects_and_test_reports(mine: Mine) -> None:
    data = read_task(mine())
    assert data.parts == ("dev", "test")
    assert texts(data.train) == [text for text, _ in rows("train", 100)]
    assert texts(data.select) == [text for text, _ in rows("dev", 30)]
    assert texts(data.report) == [text for text, _ in rows("test", 20)]
    assert_apart(data)


def test_without_one_a_tenth_of_train_selects_and_dev_reports(mine: Mine) -> None:
    data = read_task(mine(test=False))
    assert data.parts == ("train", "dev")
    assert texts(data.report) == [text for text, _ in rows("dev", 30)]
    assert (len(data.train), len(data.select)) == (90, 10)
    assert {*texts(data.train), *texts(data.select)} == {text for text, _ in rows("train", 100)}
    assert np.bincount(data.select.labels).tolist() == [8, 2]  # a tenth of 75 and of 25
    assert_apart(data)


def test_the_tenth_is_the_same_whatever_the_limits_and_the_order_of_rows(
    mine: Mine, tmp_path: Path
) -> None:
    task = mine(test=False)
    chosen = texts(read_task(task).select)
    limited = read_task(replace(task, train_limit=50, eval_limit=8))
    assert (len(limited.train), len(limited.select), len(limited.report)) == (50, 8, 8)
    assert set(texts(limited.select)) < set(chosen)
    assert_apart(limited)
    write(tmp_path / str(task.files and task.files.train), rows("train", 100)[::-1])
    assert sorted(texts(read_task(task).select)) == sorted(chosen)


def test_where_dev_does_both_all_of_train_is_trained_on(mine: Mine) -> None:
    data = read_task(mine(select="dev", report="dev"))
    assert len(data.train) == 100
    assert data.select is data.report
    assert texts(data.report) == [text for text, _ in rows("dev", 30)]
    assert str(data.rows) == "100 train, 30 select and report (dev; protocol=dev)"


@pytest.mark.parametrize(
    ("named", "parts"),
    [
        ({"select": "train"}, ("train", "test")),
        ({"report": "dev"}, ("train", "dev")),
        ({"select": "test"}, ("test", "dev")),
        ({"select": "train", "report": "test"}, ("train", "test")),
        ({"select": "dev", "report": "test"}, ("dev", "test")),
    ],
)
def test_a_task_may_name_its_splits(
    mine: Mine, named: dict[str, str], parts: tuple[str, str]
) -> None:
    data = read_task(mine(**named))
    assert data.parts == parts
    assert len(data.train) == (90 if "train" in parts else 100)
    assert_apart(data)


def test_a_dev_set_that_plays_no_part_need_not_be_there(mine: Mine, tmp_path: Path) -> None:
    task = mine(select="train", report="test")
    (tmp_path / str(task.files and task.files.eval)).unlink()
    assert len(read_task(task).report) == 20


@pytest.mark.parametrize("spoil", ["no file", "no label", "an empty label"])
def test_a_test_set_without_labels_is_left_out_unless_it_is_asked_for(
    mine: Mine, tmp_path: Path, spoil: str
) -> None:
    task = mine()
    path = tmp_path / str(task.files and task.files.test)
    if spoil == "no file":
        path.unlink()
    elif spoil == "no label":
        write(path, rows("test", 20), label="id")
    else:
        content = path.read_text()
        path.write_text(content.replace("spam", "").replace("ham", ""))
    assert read_task(task).parts == ("train", "dev")
    assert message(replace(task, report="test")) == (
        f"task.report=test: task mine has no labelled test set here ({path}); expected one, or dev"
    )
    assert message(replace(task, select="test")).endswith("expected one, or train")


def test_a_malformed_test_set_is_reported_and_not_left_out(mine: Mine, tmp_path: Path) -> None:
    task = mine()
    path = tmp_path / str(task.files and task.files.test)
    lines = path.read_text().splitlines()
    at = 0 if path.suffix == ".jsonl" else 1
    path.write_text("\n".join([*lines[:at], lines[at].replace("spam", "spma"), *lines[at + 1 :]]))
    with pytest.raises(UserError, match=rf"{path}:{at + 1}: column 'kind': found 'spma'; did you"):
        read_task(task)


def test_a_test_set_that_no_key_names_has_the_key_in_its_message(mine: Mine) -> None:
    assert message(mine(test=False, report="test")) == (
        "task.report=test: task mine has no labelled test set here, task.files.test=FILE names it; "
        "expected one, or dev"
    )


@pytest.mark.parametrize("named", [{"select": "test", "report": "test"}, {"select": "dev"}])
def test_a_split_that_would_select_and_report_is_refused(mine: Mine, named: Any) -> None:
    task = mine(test="report" in named, **named)
    assert message(task) == (
        f"task.select={task.select}: it would report too; expected another split, such as train, "
        "or protocol=dev, which chooses and reports on dev"
    )


def test_too_few_rows_for_a_tenth_are_reported(mine: Mine, tmp_path: Path) -> None:
    task = mine(test=False)
    write(tmp_path / str(task.files and task.files.train), rows("train", 2))
    with pytest.raises(UserError, match="train: 2 rows are too few to select on a tenth of them"):
        read_task(task)


def test_a_regressions_tenth_is_of_all_scores(tmp_path: Path, make_task: Any) -> None:
    for name, count in (("train", 50), ("dev", 10)):
        lines = [f"{name} {i}\tfilm\t{i / 10}" for i in range(count)]
        header = "sentence1\tsentence2\tscore"
        (tmp_path / f"{name}.tsv").write_text("\n".join([header, *lines]))
    rows = {"train": None, "eval": None}
    data = read_task(make_task("stsb", data_dir=str(tmp_path), rows=rows, **DECIDED))
    assert (len(data.train), len(data.select), len(data.report)) == (45, 5, 10)


@pytest.mark.parametrize(
    ("labels", "parts"), [([0, 1], ("dev", "test")), ([-1, -1], ("train", "dev"))]
)
def test_a_hub_data_set_follows_the_same_rule(
    make_task: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    labels: list[int],
    parts: tuple[str, str],
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    features = Features({"sentence": Value("string"), "label": ClassLabel(2)})
    (tmp_path / "hub").mkdir()
    for split, count in (("train", 40), ("validation", 10), ("test", 10)):
        given = labels if split == "test" else [0, 1]
        columns = {
            "sentence": [f"{split} {i}" for i in range(count)],
            "label": given * (count // 2),
        }
        dataset = Dataset.from_dict(columns, features)
        dataset.to_parquet(tmp_path / "hub" / f"{split}.parquet")
    hub = {
        "path": str(tmp_path / "hub"),
        "name": None,
        "test": "test",
        "label_map": {"0": "negative", "1": "positive"},
    }
    rows = {"train": None, "eval": None, "test": None}
    task = make_task("sst2", hub=hub, rows=rows, **DECIDED)
    data = read_task(task)
    assert data.parts == parts
    assert_apart(data)
    if parts == ("train", "dev"):
        with pytest.raises(UserError, match="task sst2 has no labelled test set here"):
            read_task(replace(task, report="test"))


def test_rows_are_known_before_a_hub_data_set_is_here(make_task: Any) -> None:
    assert str(expected_rows(make_task("mrpc", **DECIDED))) == (
        "3,668 train, 408 select (dev), 1,725 report (test)"
    )
    assert str(expected_rows(make_task("rte", train_limit=500, **DECIDED))) == (
        "500 train, 249 select (a tenth of train), 277 report (dev)"
    )
    free = make_task("rte", rows={"train": None, "eval": None}, **DECIDED)
    assert str(expected_rows(free)) == "? train, ? select (a tenth of train), ? report (dev)"


@pytest.mark.parametrize(
    ("name", "counts", "parts"),
    [
        ("mrpc", (3668, 408, 1725), ("dev", "test")),
        ("sst2", (67349, 872, 1821), ("dev", "test")),
        ("cola", (7696, 855, 1043), ("train", "dev")),
        ("stsb", (5174, 575, 1500), ("train", "dev")),
    ],
)
def test_the_original_files_have_their_splits(
    make_task: Any, glue: Path, name: str, counts: tuple[int, int, int], parts: tuple[str, str]
) -> None:
    data = read_task(make_task(name, data_dir=str(glue), **DECIDED))
    assert (len(data.train), len(data.select), len(data.report)) == counts
    assert data.parts == parts


def test_whole_sentences_may_train_in_place_of_phrases(make_task: Any, glue: Path) -> None:
    files = {"train": "train-sentences.tsv"}
    rows = {"train": 6920}
    data = read_task(make_task("sst2", data_dir=str(glue), files=files, rows=rows, **DECIDED))
    assert (len(data.train), len(data.select), len(data.report)) == (6920, 872, 1821)
