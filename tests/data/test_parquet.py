"""Parquet files, with whatever pandas, pyarrow and `datasets` put into their columns."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from said_lightning.data.readers import read_task
from said_lightning.data.task import FileSource, TaskConfig
from said_lightning.errors import UserError

TEXTS = ["one", "two", "three", "four"]
ROWS = [[text, i % 2] for i, text in enumerate(TEXTS)]


def mine(folder: Path) -> TaskConfig:
    """Return a task of `train.parquet` in a folder, where its dev set is written too."""
    (folder / "dev.csv").write_text("message,kind\nhello,ham\npills,spam\n")
    source = FileSource(train="train.parquet", eval="dev.csv", text=["message"], label="kind")
    task = TaskConfig(name="mine", labels=["ham", "spam"], metric="accuracy", metrics=["accuracy"])
    task.data_dir, task.files, task.select, task.report = str(folder), source, "dev", "dev"
    return task


def problem(task: TaskConfig) -> str:
    """Return the one message about a task."""
    with pytest.raises(UserError) as caught:
        read_task(task)
    (message,) = caught.value.messages
    return message


@pytest.mark.parametrize(
    "labels",
    [
        ["ham", "spam", "ham", "spam"],
        [0, 1, 0, 1],
        [0.0, 1.0, 0.0, 1.0],
        [False, True, False, True],
        pd.Categorical(["ham", "spam", "ham", "spam"], ["spam", "ham"]),
        pd.array([0, 1, 0, 1], dtype="Int8"),
    ],
    ids=["names", "ids", "floats", "booleans", "categories", "nullable"],
)
def test_parquet_holds_labels_of_any_type(tmp_path: Path, labels: Any) -> None:
    frame = pd.DataFrame({"id": [1.5, None, 2, 3], "kind": labels, "message": TEXTS})
    frame.to_parquet(tmp_path / "train.parquet")
    assert list(read_task(mine(tmp_path)).train) == ROWS


def test_class_ids_in_parquet_mean_the_names_that_stand_there(tmp_path: Path) -> None:
    features = Features({"message": Value("string"), "kind": ClassLabel(names=["spam", "ham"])})
    rows = {"message": TEXTS, "kind": [1, 0, 1, 0]}
    Dataset.from_dict(rows, features).to_parquet(tmp_path / "train.parquet")
    assert list(read_task(mine(tmp_path)).train) == ROWS


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"message": ["a", None], "kind": [0, 1]}, "row 1: column 'message' is empty, expected te"),
        ({"message": [1.5, float("nan")], "kind": [0, 1]}, "row 1: column 'message' is empty"),
        ({"message": ["a", "b"], "kind": [0.0, float("nan")]}, "row 1: column 'kind' is empty"),
        ({"message": ["a", "b"], "kind": [0.0, 0.5]}, "row 1: column 'kind': found '0.5'"),
        ({"message": [b"a", b"b"], "kind": [0, 1]}, "'message' holds binary, expected text or a n"),
        ({"message": [["a"], ["b"]], "kind": [0, 1]}, "'message' holds list<"),
        ({"text": ["a", "b"], "kinds": [0, 1]}, "found 'text', 'kinds'; did you mean 'kinds'?"),
    ],
)
def test_a_parquet_cell_that_is_no_text_is_reported_with_its_row(
    tmp_path: Path, columns: dict[str, Any], expected: str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    message = problem(mine(tmp_path))
    assert expected in message


def test_a_column_that_is_there_twice_is_reported(tmp_path: Path) -> None:
    columns = [pa.array(["a", "b"]), pa.array([0, 1]), pa.array([1, 0])]
    pq.write_table(pa.table(columns, ["message", "kind", "kind"]), tmp_path / "train.parquet")
    message = problem(mine(tmp_path))
    assert "expected a header with 'message', 'kind' once each" in message


@pytest.mark.parametrize("stray", [2, -2, 700])
def test_a_class_id_without_a_name_is_reported(tmp_path: Path, stray: int) -> None:
    features = Features({"message": Value("string"), "kind": ClassLabel(names=["spam", "ham"])})
    Dataset.from_dict({"message": ["a"], "kind": [0]}, features).to_parquet(
        tmp_path / "hub.parquet"
    )
    schema = pq.read_schema(tmp_path / "hub.parquet")
    table = pa.table({"message": ["a", "b"], "kind": [0, stray]}, schema)
    pq.write_table(table, tmp_path / "train.parquet")
    assert f"row 1: column 'kind': found 'class id {stray}'" in problem(mine(tmp_path))


def test_features_that_the_installed_package_does_not_know_are_reported(tmp_path: Path) -> None:
    odd = {"info": {"features": {"kind": {"_type": "Novel"}, "message": {"_type": "Value"}}}}
    table = pa.table({"message": ["a"], "kind": [0]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(odd)})
    pq.write_table(table, tmp_path / "train.parquet")
    expected = "train.parquet:1: cannot be read: the installed `datasets` cannot read its features"
    assert expected in problem(mine(tmp_path))
