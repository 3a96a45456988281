"""A user's own data: one yaml for CSV, TSV or JSON lines, one text or two, classes or scores."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from said_lightning.data.examples import Collector
from said_lightning.data.readers import read_task
from said_lightning.data.readers.files import read_rows
from said_lightning.data.task import FileSource, TaskConfig
from said_lightning.data.validate import validate_task
from said_lightning.errors import UserError

YAML = """
name: mine
labels: [ham, spam]
metric: accuracy
metrics: [accuracy]
files:
  train: train.csv
  eval: dev.csv
  text: [message]
  label: kind
"""


def mine(folder: Path, **changes: Any) -> TaskConfig:
    """Return the yaml above, with some keys changed, for data in a folder."""
    changes = {"data_dir": str(folder), "select": "dev", "report": "dev", **changes}
    task = OmegaConf.to_object(OmegaConf.merge(TaskConfig, OmegaConf.create(YAML), changes))
    assert isinstance(task, TaskConfig)
    return task


def write(folder: Path, name: str, *lines: str) -> None:
    """Write a file."""
    (folder / name).write_text("\n".join(lines) + "\n")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Return a folder with a good evaluation file, and a training file too."""
    for name, start in (("train.csv", "hello"), ("dev.csv", "bye")):
        write(tmp_path, name, "message,kind", f"{start},ham", "cheap pills,spam")
    return tmp_path


def problem(task: TaskConfig) -> str:
    """Give the one problem of a task's data."""
    with pytest.raises(UserError) as caught:
        read_task(task)
    (message,) = caught.value.messages
    return message


def test_quoted_columns_hold_commas_quotes_and_line_ends(good: Path) -> None:
    write(good, "train.csv", "kind,message", 'ham,"one, ""two""', 'three"', 'spam,4" wide')
    assert list(read_task(mine(good)).train) == [['one, "two"\nthree', 0], ['4" wide', 1]]


def test_json_lines_hold_numbers_and_any_text(good: Path) -> None:
    lines = [{"message": 'a\n\t"b" é', "kind": "ham", "more": [1]}, {"kind": 1, "message": "5"}]
    write(good, "train.jsonl", *map(json.dumps, lines))
    task = mine(good, files={"train": "train.jsonl"})
    assert list(read_task(task).train) == [['a\n\t"b" é', 0], ["5", 1]]


def test_scores_and_pairs_need_no_more_than_their_columns(tmp_path: Path) -> None:
    for name, other in (("train.tsv", "two"), ("dev.tsv", "2")):
        write(tmp_path, name, "a\tb\tscore", f"one\t{other}\t-3.5", "three\tfour\t100")
    columns = {"train": "train.tsv", "eval": "dev.tsv", "text": ["a", "b"], "label": "score"}
    task = mine(
        tmp_path, kind="regression", labels=[], metric="pearson", metrics=["pearson"], files=columns
    )
    assert list(read_task(task).train) == [["one", "two", -3.5], ["three", "four", 100.0]]


def test_a_label_map_joins_ways_of_writing(good: Path) -> None:
    write(good, "train.csv", "message,kind", "a,1", "b,2", "c,5")
    write(good, "dev.csv", "message,kind", "a,5", "b,1")
    stars = {"1": "spam", "2": "spam", "5": "ham"}
    task = mine(good, files={"label_map": stars})
    assert [label for _, label in read_task(task).train] == [1, 1, 0]
    write(good, "train.csv", "message,kind", "a,ham")
    assert problem(task) == (
        f"{good}/train.csv:2: column 'kind': found 'ham'; expected '1', '2', '5'"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('"open,ham', "expected comma-separated columns: unexpected end of data; is a quote left"),
        ('"a" b,ham', "expected comma-separated columns: ',' expected after '\"'; is a quote left"),
        ("a,b,ham", "expected 2 comma-separated columns, found 3"),
        ("\na,ham", "expected 2 comma-separated columns, found 0"),
        ("a,Ham ", "column 'kind': found 'Ham '; did you mean 'ham'?"),
    ],
)
def test_a_malformed_csv_row_is_reported_where_it_begins(
    good: Path, line: str, expected: str
) -> None:
    write(good, "train.csv", "message,kind", '"two\nlines",ham', line)
    message = problem(mine(good))
    assert message.startswith(f"{good}/train.csv:4: {expected}")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"message": "a"}', "expected 'kind' once"),
        ('{"message": "a", "kinds": "ham"}', "expected 'kind' once; did you mean 'kinds'?"),
        ('{"message": "a", "kind": "ham", "kind": "spam"}', "expected 'kind' once"),
        ('["a", "ham"]', 'expected a JSON object, found \'["a", "ham"]\''),
        ('{"message": "a", "kind"', "expected a JSON object: Expecting ':'"),
        ('\n{"message": "b", "kind": "spam"}', "expected a JSON object: Expecting value"),
        ("[" * 100_000, "expected a JSON object, found one nested without end"),
        ('{"message": ["a"], "kind": "ham"}', "column 'message': expected text or a number"),
        ('{"message": null, "kind": "ham"}', "column 'message' is empty, expected text"),
        ('{"message": "a", "kind": null}', "column 'kind' is empty, expected a label"),
        ('{"message": "a", "kind": NaN}', "column 'kind' is empty, expected a label"),
        ('{"message": NaN, "kind": "ham"}', "column 'message' is empty, expected text"),
        ('{"message": "\\ud800", "kind": "ham"}', "column 'message' holds half a character"),
    ],
)
def test_a_malformed_json_line_is_reported(good: Path, line: str, expected: str) -> None:
    write(good, "train.jsonl", '{"message": "a", "kind": "ham"}', line)
    message = problem(mine(good, files={"train": "train.jsonl"}))
    assert message.startswith(f"{good}/train.jsonl:2: {expected}")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"files": {"train": "train.xlsx"}}, "train.xlsx: expected a file that ends in .tsv, .txt"),
        ({"files": {"train": "trian.csv"}}, "trian.csv: no such file; did you mean 'train.csv'?"),
        ({"files": {"label_map": {"1": "spamm"}}}, "label_map: 1: no label 'spamm'; did you mean"),
        ({"files": {"also": {"train": "dev.csv"}}}, "task.files.also: 'train': expected a name"),
        ({"files": {"text": []}}, "task.files.text=[]: expected the names of one or two columns"),
    ],
)
def test_a_mistake_in_the_yaml_is_reported_before_anything_is_read(
    good: Path, changes: dict[str, Any], expected: str
) -> None:
    (message,) = validate_task(mine(good, **changes))
    assert expected in message


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\n")).filter(str.strip)


@given(rows=st.lists(st.tuples(cells, st.integers(0, 1)), min_size=1), suffix=st.sampled_from("cj"))
def test_whatever_is_written_comes_back(
    tmp_path_factory: Any, rows: list[tuple[str, int]], suffix: str
) -> None:
    path = tmp_path_factory.mktemp("own") / ("rows.csv" if suffix == "c" else "rows.jsonl")
    if suffix == "c":
        quoted = (f'"{text.replace(chr(34), chr(34) * 2)}",{label}' for text, label in rows)
        path.write_bytes("\r\n".join(["text,label", *quoted]).encode())
    else:
        objects = ({"text": text, "label": label} for text, label in rows)
        path.write_bytes("\n".join(map(json.dumps, objects)).encode())
    files = FileSource(text=["text"])
    found = Collector(TaskConfig(labels=["no", "yes"]), files, str(path), len(rows))
    found.add_all(read_rows(path, files, found))
    assert found.mistakes == []
    assert list(map(tuple, found.examples())) == rows
