"""Every task that has original files is read from them and from the hub's layout alike."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from omegaconf import OmegaConf

from said_lightning.data.readers import read_task
from said_lightning.data.task import Rows
from said_lightning.errors import UserError

CONF = Path(__file__).parents[2] / "conf" / "task"
YAMLS = {path.stem: OmegaConf.load(path) for path in sorted(CONF.glob("*.yaml"))}
# Texts to be written have tests of their own.
ORIGINAL = [name for name, one in YAMLS.items() if "files" in one and one.kind != "generate"]
# Task: rows of the training, the dev and a labelled test split, headline, all metrics.
OFFICIAL = {
    "cola": (8551, 1043, None, "matthews", ["matthews"]),
    "sst2": (67349, 872, 1821, "accuracy", ["accuracy"]),
    "mrpc": (3668, 408, 1725, "accuracy", ["accuracy", "f1"]),
    "stsb": (5749, 1500, None, "pearson", ["pearson", "spearman"]),
    "qqp": (363846, 40430, None, "accuracy", ["accuracy", "f1"]),
    "mnli": (392702, 9815, None, "accuracy", ["accuracy"]),
    "qnli": (104743, 5463, None, "accuracy", ["accuracy"]),
    "rte": (2490, 277, None, "accuracy", ["accuracy"]),
    "wnli": (635, 71, None, "accuracy", ["accuracy"]),
    "ax": (392702, 1104, None, "matthews", ["matthews", "accuracy"]),
    "anli": (16946 + 45460 + 100459, 3200, 3200, "accuracy", ["accuracy"]),
    "yelp": (560000, 38000, None, "accuracy", ["accuracy"]),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_counts_metrics_and_headlines(make_task: Any, name: str) -> None:
    task = make_task(name)
    rows = (task.rows.train, task.rows.eval, task.rows.test)
    assert (*rows, task.metric, task.metrics) == OFFICIAL[name]


@pytest.mark.parametrize("name", ORIGINAL)
def test_original_files_give_every_row_of_every_split(plant: Any, name: str) -> None:
    planted = plant(name)
    data = read_task(planted.task)
    splits = {"train": data.train, "dev": data.report, **data.also}
    if "test" in planted.splits:
        splits["test"] = read_task(replace(planted.task, report="test")).report
    assert {split: list(rows) for split, rows in splits.items()} == {
        split: planted.expected(split) for split in planted.splits
    }


def test_mnli_evaluates_matched_and_mismatched_and_anli_each_round(plant: Any) -> None:
    assert list(read_task(plant("mnli").task).also) == ["mismatched"]
    assert list(read_task(plant("anli").task).also) == ["r1", "r2", "r3"]


def save(folder: Path, hub: Any, splits: list[str], labels: list[str]) -> None:
    """Save two rows a split in the hub's layout: its columns, class ids where there are classes.

    A text holds its split's name.
    """
    names = list(hub.label_map) or labels
    features = {column: Value("string") for column in hub.text}
    features[hub.label] = ClassLabel(names=names) if names else Value("float32")
    folder.mkdir()
    files = [{"split": split, "path": f"{split}.parquet"} for split in splits]
    card = json.dumps({"configs": [{"config_name": "default", "data_files": files}]})
    (folder / "README.md").write_text(f"---\n{card}\n---\n")
    for split in splits:
        columns: dict[str, list[Any]] = {one: [f"{split} 0", f"{split} 1"] for one in hub.text}
        columns[hub.label] = [0, 1] if names else [1.5, 2.5]
        Dataset.from_dict(columns, Features(features)).to_parquet(folder / f"{split}.parquet")


@pytest.mark.parametrize("name", ORIGINAL)
def test_the_hubs_layout_is_read_in_every_split(
    make_task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    task = make_task(name)
    task.rows = Rows()
    evaluation = task.eval_hub or task.hub
    wanted = [task.hub.train, evaluation.eval, *evaluation.also.values()]
    wanted += [evaluation.test] if evaluation.test else []
    parts = sorted({part for split in wanted for part in split.split("+")})
    for hub in (task.hub, evaluation):
        hub.path, hub.name = str(tmp_path / "hub"), None
    save(tmp_path / "hub", task.hub, parts, task.labels)
    data = read_task(task)
    labels = [0, 1] if task.labels else [1.5, 2.5]

    def rows(splits: str) -> list[list[Any]]:
        texts = [(f"{split} {i}", labels[i]) for split in splits.split("+") for i in (0, 1)]
        return [[*[text] * len(task.hub.text), label] for text, label in texts]

    assert list(data.train) == rows(task.hub.train)
    assert list(data.report) == rows(evaluation.eval)
    if evaluation.test:
        tested = read_task(replace(task, report="test"))
        assert list(tested.select) == list(data.report)
        assert list(tested.report) == rows(evaluation.test)
    assert {name: list(split) for name, split in data.also.items()} == {
        name: rows(split) for name, split in evaluation.also.items()
    }


def test_the_hubs_diagnostic_set_has_no_labels_and_that_is_reported(
    make_task: Any, own_rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    task = make_task("ax", rows=own_rows)
    save(tmp_path / "mnli", task.hub, ["train"], task.labels)
    columns = {"premise": ["a"], "hypothesis": ["b"], "label": [-1]}
    features = {"premise": Value("string"), "hypothesis": Value("string")}
    unlabelled = Features({**features, "label": ClassLabel(names=task.labels)})
    (tmp_path / "ax").mkdir()
    Dataset.from_dict(columns, unlabelled).to_parquet(tmp_path / "ax" / "test.parquet")
    task.hub.path, task.hub.name = str(tmp_path / "mnli"), None
    task.eval_hub.path, task.eval_hub.name = str(tmp_path / "ax"), None
    with pytest.raises(UserError, match=r"\(test\), row 0: column 'label' is empty, expected a l"):
        read_task(task)
