"""The reader of original files: what is right is kept to the letter, what is wrong is reported."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from said_lightning.data.examples import Collector, Examples
from said_lightning.data.labels import label_parser
from said_lightning.data.readers import read_task
from said_lightning.data.readers.files import read_rows
from said_lightning.data.task import FileSource, TaskConfig
from said_lightning.errors import UserError

HEADER = "sentence\tlabel"
GOOD = ["a good film\t1", "a bad film\t0", "the film\t1"]
OFFICIAL = {"mrpc": (3668, 408), "sst2": (67349, 872), "cola": (8551, 1043), "stsb": (5749, 1500)}


def read(folder: Path, text: str | bytes, task: TaskConfig) -> Examples:
    """Read a planted training file; its eval file is good."""
    (folder / "train.tsv").write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "dev.tsv").write_text("\n".join([HEADER, *GOOD, "no film\t0"]))
    return read_task(task).train


def texts_of(examples: Examples) -> list[str]:
    """Give the first text of each row."""
    return [row[0] for row in examples]


def check(path: Path, task: TaskConfig, files: FileSource, rows: int | None) -> Collector:
    """Read and check one file."""
    found = Collector(task, files, str(path), rows)
    found.add_all(read_rows(path, files, found))
    return found


@pytest.fixture
def task(make_task: Any, own_rows: Any, tmp_path: Path) -> TaskConfig:
    """SST-2 in a planted folder."""
    return make_task("sst2", data_dir=str(tmp_path), rows=own_rows)


@pytest.mark.parametrize(
    "written",
    [
        "\n".join([HEADER, *GOOD]),
        "\n".join([HEADER, *GOOD, ""]),
        "\r\n".join([HEADER, *GOOD, ""]),
        "\ufeff" + "\r\n".join([HEADER, *GOOD]),
        "\n".join([HEADER, GOOD[0] + "\r", *GOOD[1:]]),
        "\n".join(
            ["id\tlabel\tsentence", "7\t1\ta good film", "8\t0\ta bad film", "9\t1\tthe film"]
        ),
        "\n".join([HEADER, "a good film\tpositive", "a bad film\tnegative", "the film\t1"]),
    ],
    ids=["plain", "newline", "crlf", "bom", "mixed ends", "other columns", "label names"],
)
def test_harmless_variants_read_alike(task: TaskConfig, tmp_path: Path, written: str) -> None:
    train = read(tmp_path, written, task)
    assert list(train) == [["a good film", 1], ["a bad film", 0], ["the film", 1]]


def test_a_header_that_is_no_text_is_reported(task: TaskConfig, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"train.tsv:1: expected utf-8 text, byte 1 is 0xff; task.f"
    ):
        read(tmp_path, b"\xff\t" + "\n".join([HEADER, *GOOD]).encode(), task)


def test_quotes_mean_nothing(task: TaskConfig, tmp_path: Path) -> None:
    rows = [
        '" an unbalanced quote\t1',
        '"quoted"\t0',
        'a "good film\t1',
        "\u2028 \x0b odd space\t0",
    ]
    train = read(tmp_path, "\n".join([HEADER, *rows]), task)
    assert texts_of(train) == [row.split("\t")[0] for row in rows]


@pytest.mark.parametrize(
    ("lines", "line", "expected"),
    [
        ([], 1, "ends after 0 rows, expected at least one"),
        ([HEADER], 1, "ends after 0 rows, expected at least one"),
        (GOOD, 1, "expected a header with 'sentence', 'label' once each, found 'a good film', '1'"),
        (["sentence", *GOOD], 1, "'label' once each, found 'sentence'"),
        (["sentence\tlabel\tlabel", "a\t1\t0"], 1, "once each"),
        ([HEADER, GOOD[0], "a bad\tfilm\t0"], 3, "expected 2 tab-separated columns, found 3"),
        ([HEADER, GOOD[0], "a bad fi"], 3, "expected 2 tab-separated columns, found 1"),
        ([HEADER, GOOD[0], "", GOOD[1]], 3, "expected 2 tab-separated columns, found 1"),
        ([HEADER, GOOD[0], "a bad film\t"], 3, "column 'label' is empty, expected a label"),
        ([HEADER, GOOD[0], "a bad film\t2"], 3, "column 'label': found '2'"),
        ([HEADER, "a film\tpositiv"], 2, "found 'positiv'; did you mean 'positive'?"),
        ([HEADER, GOOD[0], " \t1"], 3, "column 'sentence' is empty, expected text"),
    ],
)
def test_a_malformed_line_is_reported_with_file_and_line(
    task: TaskConfig, tmp_path: Path, lines: list[str], line: int, expected: str
) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, "\n".join(lines), task)
    (message,) = error.value.messages
    assert message.startswith(f"{tmp_path / 'train.tsv'}:{line}: ")
    assert expected in message


def test_a_byte_that_is_no_text_is_reported_with_its_column(
    task: TaskConfig, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"train.tsv:3: expected utf-8 text, byte 1 is 0xa3"):
        read(tmp_path, f"{HEADER}\na\t1\n".encode() + "£5\t1".encode("cp1252"), task)
    task.files.encoding = "cp1252"  # type: ignore[union-attr]
    train = read(tmp_path, f"{HEADER}\na\t0\n".encode() + "£5\t1".encode("cp1252"), task)
    assert texts_of(train) == ["a", "£5"]


@pytest.mark.parametrize("score", ["nan", "inf", "-0.1", "5.5", "1e99", "", "high"])
def test_a_score_that_is_no_number_in_range_is_reported(
    make_task: Any, own_rows: Any, tmp_path: Path, score: str
) -> None:
    header = "sentence1\tsentence2\tscore\n"
    (tmp_path / "train.tsv").write_text(header + "a film\tthe film\t3.8\n")
    (tmp_path / "dev.tsv").write_text(header + f"a film\tthe film\t{score}\n")
    task = make_task("stsb", data_dir=str(tmp_path), rows=own_rows)
    expected = rf"dev.tsv:2: column 'score': found '{score}', expected a number from 0 to 5"
    if not score:
        expected = "dev.tsv:2: column 'score' is empty, expected a label"
    with pytest.raises(UserError, match=expected):
        read_task(task)


def test_many_mistakes_are_reported_briefly_and_counted(task: TaskConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, "\n".join([HEADER, *["no label"] * 100]), task)
    assert len(error.value.messages) == 3
    assert error.value.messages[-1] == (
        f"{tmp_path / 'train.tsv'}:4: expected 2 tab-separated columns, found 1; "
        "and 97 more such problems"
    )


def test_both_files_are_checked_before_anything_is_said(make_task: Any, tmp_path: Path) -> None:
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text("\n".join([HEADER, *GOOD]))
    with pytest.raises(UserError) as error:
        read_task(make_task("sst2", data_dir=str(tmp_path)))
    assert error.value.messages == (
        f"{tmp_path / 'train.tsv'}:4: ends after 3 rows, expected 67349 (task.rows)",
        f"{tmp_path / 'dev.tsv'}:4: ends after 3 rows, expected 872 (task.rows)",
    )


def test_names_that_are_numbers_are_not_taken_for_ids() -> None:
    parse = label_parser(TaskConfig(labels=["1", "2"]), FileSource())
    assert [parse("1"), parse("2")] == [0, 1]
    with pytest.raises(ValueError, match="found '0'; expected '1', '2'"):
        parse("0")


# Everything but what the format itself gives a meaning: tab and newline.
texts = st.text(st.characters(exclude_characters="\t\n", codec="utf-8")).filter(str.strip)


@given(rows=st.lists(st.tuples(texts, texts, st.integers(0, 1)), min_size=1), bom=st.booleans())
def test_whatever_is_written_comes_back(
    tmp_path_factory: Any, rows: list[tuple[str, str, int]], bom: bool
) -> None:
    path = tmp_path_factory.mktemp("tsv") / "train.tsv"
    lines = ["one\ttwo\tlabel", *("\t".join(map(str, row)) for row in rows)]
    path.write_bytes(("\ufeff" * bom + "\n".join(lines)).encode())
    files = FileSource(text=["one", "two"])
    found = check(path, TaskConfig(labels=["no", "yes"]), files, len(rows))
    assert found.mistakes == []
    assert list(map(tuple, found.examples())) == rows


GOOD_FILE = "\n".join([HEADER, *GOOD]).encode()


@given(at=st.integers(0, len(GOOD_FILE)), cut=st.integers(0, 20), put=st.binary(max_size=4))
def test_no_damage_drops_a_row_in_silence(
    tmp_path_factory: Any, at: int, cut: int, put: bytes
) -> None:
    path = tmp_path_factory.mktemp("tsv") / "train.tsv"
    path.write_bytes(GOOD_FILE[:at] + put + GOOD_FILE[at + cut :])
    task = TaskConfig(labels=["negative", "positive"])
    found = check(path, task, FileSource(text=["sentence"]), 3)
    assert found.mistakes or len(found.examples()) == 3
    assert all(message.startswith(f"{path}:") for message in found.messages())


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_original_files_are_read_whole(make_task: Any, glue: Path, name: str) -> None:
    task = make_task(name, data_dir=str(glue))
    data = read_task(task)
    assert (len(data.train), len(data.report)) == OFFICIAL[name]
    assert len(next(iter(data.train))) == (2 if name in ("sst2", "cola") else 3)


def test_swapped_original_files_are_noticed(make_task: Any, glue: Path) -> None:
    files = {"train": "dev.tsv", "eval": "train.tsv"}
    with pytest.raises(UserError, match=r"dev.tsv:409: ends after 408 rows, expected 3668"):
        read_task(make_task("mrpc", data_dir=str(glue), files=files))
