"""The hub's reader, on data sets saved in a folder, which `datasets` loads without a network."""

from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from said_lightning.data.readers import read_task
from said_lightning.errors import UserError

Columns = dict[str, list[Any]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what `datasets` prepares out of the user's cache."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def save(folder: Path, columns: Columns, names: list[str] | None = None) -> str:
    """Save the rows to train on, and each twice to evaluate on; return the data set's path."""
    features = {name: Value("string") for name in columns}
    features["label"] = ClassLabel(names=names) if names else Value("float32")
    (folder / "saved").mkdir()
    for times, split in enumerate(("train", "validation"), 1):
        rows = {name: cells * times for name, cells in columns.items()}
        Dataset.from_dict(rows, Features(features)).to_parquet(folder / f"saved/{split}.parquet")
    return str(folder / "saved")


def test_rows_come_back_with_their_labels(make_task: Any, own_rows: Any, tmp_path: Path) -> None:
    columns: Columns = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [1, 0]}
    path = save(tmp_path, columns, ["not_equivalent", "equivalent"])
    data = read_task(make_task("mrpc", hub={"path": path, "name": None}, rows=own_rows))
    assert list(data.train) == [["a", "c", 1], ["b", "d", 0]]
    assert list(data.report) == list(data.train) * 2


def test_the_hubs_own_order_of_labels_does_not_fool_us(
    make_task: Any, own_rows: Any, tmp_path: Path
) -> None:
    path = save(tmp_path, {"sentence": ["bad", "good"], "label": [1, 0]}, ["positive", "negative"])
    data = read_task(make_task("sst2", hub={"path": path, "name": None}, rows=own_rows))
    assert data.train.labels.tolist() == [0, 1]


def test_hub_and_files_with_the_same_content_have_the_same_hash(
    make_task: Any, own_rows: Any, tmp_path: Path
) -> None:
    path = save(tmp_path, {"sentence1": ["a"] * 2, "sentence2": ["b"] * 2, "label": [3.8, 0.1]})
    hub = read_task(make_task("stsb", hub={"path": path, "name": None}, rows=own_rows))
    for times, name in enumerate(("train.tsv", "dev.tsv"), 1):
        rows = "a\tb\t3.800\na\tb\t.1\n" * times
        (tmp_path / name).write_text(f"sentence1\tsentence2\tscore\n{rows}")
    files = read_task(make_task("stsb", data_dir=str(tmp_path), rows=own_rows))
    assert hub.sha256 == files.sha256


def test_missing_labels_columns_and_rows_are_reported(
    make_task: Any, own_rows: Any, tmp_path: Path
) -> None:
    path = save(tmp_path, {"sentence": ["bad", None], "label": [-1, 0]}, ["negative", "positive"])
    with pytest.raises(UserError) as error:
        read_task(make_task("sst2", hub={"path": path, "name": None}, rows=own_rows))
    assert f"{path} (train), row 0: column 'label' is empty, expected a label" in str(error.value)
    assert f"{path} (train), row 1: column 'sentence' is empty, expected text" in str(error.value)
    with pytest.raises(UserError, match=r"\(validation\), row 3: ends after 4 rows, expected 872"):
        read_task(make_task("sst2", hub={"path": path, "name": None}))
    with pytest.raises(UserError, match="'txt', 'label' once each, found 'sentence', 'label'"):
        read_task(make_task("sst2", hub={"path": path, "name": None, "text": ["txt"]}))


def test_a_column_of_lists_is_no_text(make_task: Any, own_rows: Any, tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    for split in ("train", "validation"):
        rows = Dataset.from_dict({"sentence": [["a", "b"]], "label": ["positive"]})
        rows.to_parquet(tmp_path / "saved" / f"{split}.parquet")
    hub = {"path": str(tmp_path / "saved"), "name": None}
    with pytest.raises(UserError, match=r"column 'sentence' holds list.*, expected text"):
        read_task(make_task("sst2", hub=hub, rows=own_rows))


def test_a_split_that_the_data_set_lacks_is_reported(make_task: Any, tmp_path: Path) -> None:
    path = save(tmp_path, {"sentence": ["a"], "label": [0]}, ["negative", "positive"])
    with pytest.raises(UserError) as error:
        read_task(make_task("sst2", hub={"path": path, "name": None, "train": "trian"}))
    assert str(error.value).startswith(f'task=sst2: {path}: Unknown split "trian". Should be one')


def test_without_network_the_command_that_fetches_the_data_is_named(make_task: Any) -> None:
    with pytest.raises(UserError) as error:
        read_task(make_task("mrpc"))
    (message,) = error.value.messages
    assert message.startswith("task=mrpc: Couldn't reach 'nyu-mll/glue' on the Hub")
    assert "load_dataset('nyu-mll/glue', 'mrpc')\"; or give" in message
    assert message.endswith("task.data_dir=FOLDER")
