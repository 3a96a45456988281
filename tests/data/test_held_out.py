"""No dev set: a share of train stands in. No split that teaches or tests nothing is accepted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from said_lightning.data.fields import violations
from said_lightning.data.readers import look_into, read_task
from said_lightning.data.splits import expected_rows
from said_lightning.data.task import FileSource, HubSource, Rows, TaskConfig
from said_lightning.data.validate import validate_task
from said_lightning.errors import UserError

Make = Callable[..., TaskConfig]


def lines(start: int, count: int) -> str:
    """Return rows that no other start has: three hams to a spam."""
    rows = [f"text {start + i},{('ham', 'spam')[i % 4 == 0]}\n" for i in range(count)]
    return "".join(["message,kind\n", *rows])


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that writes files by their names, and returns the task that reads them."""

    def write(splits: dict[str, str], **changes: Any) -> TaskConfig:
        for name, text in splits.items():
            (tmp_path / f"{name}.csv").write_text(text)
        source = FileSource(train="train.csv", eval="dev.csv", text=["message"], label="kind")
        source.test = "test.csv" if "test" in splits else None
        facts: dict[str, Any] = {"labels": ["ham", "spam"], "metric": "accuracy", "name": "mine"}
        facts |= {"metrics": ["accuracy"], "data_dir": str(tmp_path), "files": source}
        return TaskConfig(**{**facts, **changes})

    return write


def problem(task: TaskConfig) -> str:
    """Return the one message about a task's data."""
    with pytest.raises(UserError) as caught:
        read_task(task)
    (message,) = caught.value.messages
    return message


def texts(rows: Any) -> set[str]:
    """Return the texts of some rows."""
    return {text for text, _ in rows}


def test_a_share_of_train_reports_where_there_is_no_dev_set(make: Make) -> None:
    task = make({"train": lines(0, 200)}, split=0.1)
    data = read_task(task)
    assert data.parts == ("train", "dev")
    assert (len(data.train), len(data.select), len(data.report)) == (162, 18, 20)
    assert np.bincount(data.report.labels).tolist() == [15, 5]  # a tenth of 150 and of 50
    parts = [texts(rows) for rows in (data.train, data.select, data.report)]
    assert len(set.union(*parts)) == 200
    assert str(data.rows) == (
        "162 train, 18 select (a tenth of train), 20 report (dev: 0.1 of train)"
    )


def test_the_share_selects_where_there_is_a_test_set_and_does_both_with_protocol_dev(
    make: Make,
) -> None:
    task = make({"train": lines(0, 100), "test": lines(500, 40)}, split=0.2)
    data = read_task(task)
    assert data.parts == ("dev", "test")
    assert (len(data.train), len(data.select), len(data.report)) == (80, 20, 40)
    both = read_task(replace(task, select="dev", report="dev"))
    assert both.select is both.report
    assert texts(both.report) == texts(data.select)
    assert texts(both.train) == texts(data.train)
    whole = read_task(replace(task, select="train", report="test"))
    assert (len(whole.train), len(whole.select), len(whole.report)) == (90, 10, 40)


def test_the_share_is_the_same_whatever_the_limits_and_the_order_of_rows(make: Make) -> None:
    task = make({"train": lines(0, 100)}, split=0.25)
    held = texts(read_task(task).report)
    header, *rows = lines(0, 100).splitlines(keepends=True)
    turned = read_task(make({"train": header + "".join(rows[::-1])}, split=0.25, train_limit=30))
    assert texts(turned.report) == held
    assert len(turned.train) == 30


def test_the_share_is_known_before_data_are_read(make: Make) -> None:
    task = make({"train": lines(0, 200)}, split=0.1, rows=Rows(train=200))
    assert expected_rows(task) == read_task(task).rows


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_share_that_is_none_or_all_is_refused(make: Make, share: float) -> None:
    (message,) = violations(make({"train": lines(0, 9)}, split=share), "task.")
    assert message.startswith(f"task.split={share}: expected")


def test_a_share_beside_a_dev_set_is_refused(make: Make) -> None:
    task = make({"train": lines(0, 100), "dev": lines(200, 20)}, split=0.1)
    assert problem(task).endswith("dev.csv is a dev set; leave one out (eval=null)")
    assert task.files is not None
    without = replace(task, files=replace(task.files, eval=None))
    assert len(read_task(without).report) == 10
    assert "reports on other data" in problem(replace(without, eval_files=task.files))
    assert problem(replace(without, split=None)) == (
        "task.files.eval=null: expected a dev set; "
        "task.split=0.1 holds a tenth of train out in place of a dev set"
    )
    bbc = TaskConfig(name="bbc", labels=["a", "b"], metric="accuracy", metrics=["accuracy"])
    bbc.source, bbc.split = "bbc", 0.1
    assert validate_task(bbc)[0] == "task.split=0.1: task bbc has a dev set; leave it out"
    hub = replace(bbc, source="hub", split=None, hub=HubSource("x", eval=None, text=["a"]))
    assert validate_task(hub)[0].startswith("task.hub.eval=null: expected a dev set; task.split=")


def test_too_few_rows_to_hold_a_share_out_are_reported(make: Make) -> None:
    message = problem(make({"train": "message,kind\na,ham\nb,spam\n"}, split=0.5))
    assert message.startswith("train: 2 rows are too few to hold 0.5 of them out (task.split)")


HAM = "message,kind\n" + "".join(f"text {i},ham\n" for i in range(30))


@pytest.mark.parametrize(
    ("splits", "changes", "expected"),
    [
        (
            {"train": HAM, "dev": HAM + "more,ham\n"},
            {},
            "all 27 train rows are 'ham'; expected two",
        ),
        ({"train": lines(0, 99), "dev": HAM}, {}, "all 30 report rows are 'ham'"),
        ({"train": lines(0, 99), "dev": HAM, "test": lines(0, 9)}, {}, "all 30 select rows are 'h"),
        ({"train": HAM, "dev": lines(99, 9)}, {}, "dev.csv:1: 3 rows are 'spam', of which "),
        ({"train": lines(0, 99), "dev": lines(0, 99)}, {}, "dev.csv:1: the same rows as "),
        (
            {"train": lines(0, 99), "dev": lines(200, 9), "test": lines(200, 9)},
            {},
            "test.csv:1: the same rows as ",
        ),
        ({"train": lines(1, 99), "dev": lines(200, 9)}, {"train_limit": 2}, "task.train_limit=2"),
    ],
)
def test_splits_that_teach_or_test_nothing_are_refused(
    make: Make, splits: dict[str, str], changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError) as caught:
        read_task(make(splits, **changes))
    assert expected in "\n".join(caught.value.messages)


@pytest.mark.parametrize(("split", "part"), [("train", "train"), ("dev", "report")])
def test_a_constant_target_is_refused(make: Make, split: str, part: str) -> None:
    varied = {"train": "message,kind\n" + "".join(f"a{i},{i}.5\n" for i in range(20))}
    varied["dev"] = varied["train"].replace("a1", "b1")
    constant = "message,kind\n" + "".join(f"c{i},2.5\n" for i in range(20))
    scores = {"kind": "regression", "labels": [], "metric": "pearson", "metrics": ["pearson"]}
    assert len(read_task(make(varied, **scores)).report) == 20
    with pytest.raises(UserError) as caught:
        read_task(make(varied | {split: constant}, **scores))
    assert "rows are 2.5; expected two labels or more: no pearson" in str(caught.value)
    assert f" {part} rows" in str(caught.value)


def test_the_first_rows_of_a_large_file_show_its_mistakes(make: Make, tmp_path: Path) -> None:
    good = make({"train": lines(0, 5000), "dev": lines(5000, 9)}, rows=Rows(7, 7))
    look_into(good)
    (tmp_path / "dev.csv").write_text("message;kind\na;ham\n")
    (tmp_path / "train.csv").write_text(lines(0, 900) + "b,eggs\n" + lines(0, 9000) + "c,eggs\n")
    with pytest.raises(UserError) as caught:
        look_into(good)
    assert len(caught.value.messages) == 3
    assert "train.csv:902: column 'kind': found 'eggs'" in caught.value.messages[0]
    assert caught.value.messages[2].endswith("""; 'task.files.separator=";"' parts it""")
