"""Data as people have them: packed, in any encoding, with other separators, as JSON or parquet."""

import bz2
import gzip
import io
import json
import lzma
import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from said_lightning.data.examples import Collector
from said_lightning.data.readers import data_bytes, read_task
from said_lightning.data.readers.files import read_rows
from said_lightning.data.splits import labelled
from said_lightning.data.task import FileSource, TaskConfig
from said_lightning.data.validate import validate_task
from said_lightning.errors import UserError

TEXTS = ["naïve; café", "two, «three»", "x" * 200_000, "last 🎉"]
ROWS: list[list[Any]] = [[text, i % 2] for i, text in enumerate(TEXTS)]
NAMES = ["ham", "spam"]


def csv(separator: str = ",", end: str = "\n") -> str:
    """Return the rows as CSV."""
    lines = [f'"{text}"{separator}{NAMES[label]}' for text, label in ROWS]
    return end.join([f"message{separator}kind", *lines, ""])


def objects() -> list[dict[str, str]]:
    """Return the rows as JSON objects."""
    return [{"message": text, "kind": NAMES[label]} for text, label in ROWS]


def zipped(content: bytes, *names: str) -> bytes:
    """Return a zip file that holds the content under each name."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as packed:
        for name in names or ("train.csv",):
            packed.writestr(name, content)
    return found.getvalue()


def arrow(codec: str) -> Callable[[bytes], bytes]:
    """Return the packer of pyarrow's codec."""

    def pack(content: bytes) -> bytes:
        found = pa.BufferOutputStream()
        with pa.CompressedOutputStream(found, codec) as out:
            out.write(content)
        return found.getvalue().to_pybytes()

    return pack


gzipped = partial(gzip.compress, mtime=0)  # the time would be in the names of tests
PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzipped,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": zipped,
    ".zst": arrow("zstd"),
    ".lz4": arrow("lz4"),
}


@pytest.fixture
def mine(tmp_path: Path) -> Callable[..., TaskConfig]:
    """Return a function that writes a training file, and returns the task that reads it."""
    (tmp_path / "dev.csv").write_text("message,kind\nhello,ham\npills,spam\n")
    (tmp_path / "dev.json").write_text('{"message": "hello", "kind": "ham"}')

    def make(name: str, content: bytes | str, **files: Any) -> TaskConfig:
        content = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(content)
        facts = {"eval": "dev.csv", "text": ["message"], "label": "kind"} | files
        source = FileSource(train=name, **facts)
        task = TaskConfig(name="mine", labels=NAMES, metric="accuracy", metrics=["accuracy"])
        task.data_dir, task.files, task.select, task.report = str(tmp_path), source, "dev", "dev"
        return task

    return make


def messages(task: TaskConfig) -> tuple[str, ...]:
    """Return the messages about a task's data."""
    with pytest.raises(UserError) as caught:
        read_task(task)
    return caught.value.messages


def problem(task: TaskConfig) -> str:
    """Return the one message about a task."""
    (message,) = messages(task)
    return message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((f"train.csv{end}", pack(csv().encode())) for end, pack in PACK.items()),
        ("TRAIN.CSV", csv()),
        ("train.txt.gz", gzipped(csv("\t").replace('"', "").encode())),
        ("train.jsonl.gz", gzipped("\n".join(map(json.dumps, objects())).encode())),
        ("train.json", json.dumps(objects())),
        ("train.json", "\ufeff\n" + json.dumps(objects(), indent=2, ensure_ascii=False) + "\n\n"),
        ("train.json", "\n".join(map(json.dumps, objects()))),
        ("train.json.xz", lzma.compress(json.dumps(objects()).encode())),
        ("train.csv", csv() + "\n"),
        ("train.csv", csv(end="\r\n") + "\r\n"),
        ("train.jsonl", "\n".join([*map(json.dumps, objects()), "", " ", ""])),
    ],
)
def test_whatever_a_file_is_packed_in_its_rows_are_the_same(
    mine: Any, name: str, content: bytes | str
) -> None:
    assert list(read_task(mine(name, content)).train) == ROWS


@pytest.mark.parametrize("separator", [";", "|", "\t", r"\t", "\x1f"])
def test_a_separator_parts_the_columns(mine: Any, separator: str) -> None:
    content = csv("\t" if separator == r"\t" else separator)
    task = mine("train.csv", content, separator=separator)
    (Path(str(task.data_dir)) / "dev.csv").write_text(content + f"more{content[7]}ham\n")
    assert list(read_task(task).train) == ROWS


@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
def test_a_wrong_separator_is_named_with_the_right_one(mine: Any, separator: str) -> None:
    name = "train.txt" if separator == "," else "train.csv"
    header, row = separator.join(["message", "kind"]), separator.join(["a film", "ham"])
    for content, files in ((f"{header}\n{row}", {}), (row, {"columns": ["message", "kind"]})):
        message = problem(mine(name, content, **files, eval="dev.json"))
        written = separator.replace("\t", r"\t")
        assert message.endswith(f"""; 'task.files.separator="{written}"' parts it""")


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-8"]
)
@pytest.mark.parametrize("name", ["train.csv", "train.csv.gz", "train.json"])
def test_any_encoding_is_read(mine: Any, encoding: str, name: str) -> None:
    content = csv() if "csv" in name else json.dumps(objects(), indent=1, ensure_ascii=False)
    raw = content.encode(encoding)
    task = mine(name, gzipped(raw) if name.endswith(".gz") else raw, encoding=encoding)
    (Path(str(task.data_dir)) / "dev.csv").write_bytes(
        "message,kind\na,ham\nb,spam".encode(encoding)
    )
    assert list(read_task(task).train) == ROWS


def test_bytes_that_are_no_text_in_a_wide_encoding_are_reported_with_their_line(mine: Any) -> None:
    raw = (
        "message,kind\na,ham\n".encode("utf-16-le")
        + b"\x00\xd8b\0,\0"
        + "ham\n".encode("utf-16-le")
    )
    task = mine("train.csv", raw, encoding="utf-16-le")
    assert "train.csv:3: expected utf-16-le text; task.files.encoding=" in messages(task)[0]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("train.csv", csv().encode("utf-16"), "found UTF-16; task.files.encoding=utf-16 reads it"),
        ("train.csv", gzipped(b"a"), "found gzip, whose name ends in .gz"),
        ("train.tsv", zipped(b"a"), "found a zip file or a spreadsheet; export it as CSV"),
        ("train.csv", b"PAR1...", "found parquet, whose name ends in .parquet"),
        ("train.csv.gz", b"message,kind\n", "cannot be read: Not a gzipped file"),
        ("train.csv.gz", gzipped(csv().encode())[:-30], "cannot be read: it is no whole .gz"),
        ("train.csv.xz", lzma.compress(csv().encode())[:-30], "cannot be read: it is no whole .xz"),
        ("train.csv.bz2", b"message,kind\n", "cannot be read: Invalid data stream"),
        ("train.csv.zst", arrow("zstd")(csv().encode())[:-9], "cannot be read: Truncated"),
        ("train.csv.zip", b"message", "cannot be read: it is no whole .zip file"),
        ("train.csv.zip", zipped(b"a", "a.csv", "b.csv"), "it holds 2 files, expected one; unzip"),
        ("train.parquet", b"message,kind\n", "cannot be read: it is no parquet file"),
        ("train.json", "{\n", "expected a list of JSON objects, or one a line"),
        ("train.json", '[{"message": "a", "kind": "ham"}\n,', "expected a list of JSON objects: E"),
        ("train.json", '[{"message": "a", "kind": "ham"} 5]', "Expecting ',' delimiter"),
        ("train.json", '[{"message": "a", "kind": "ham"}] 5', "Extra data"),
        ("train.json", "[" * 100_000, "expected a list of JSON objects: found one nested without"),
        ("train.json", "[5]", "expected a JSON object, found '5'"),
        ("train.json", '{"data": []}', "expected 'message' once; expected 'data'"),
        ("train.csv", "Message,kind\na,ham\n", "found 'Message', 'kind'; did you mean 'Message'?"),
        (
            "train.csv",
            "a,ham\nb,ham\n",
            "; is there no header? task.files.columns names the columns",
        ),
        ("train.csv", "", "train.csv:1: ends after 0 rows, expected at least one"),
        ("train.csv.gz", gzipped(b""), "ends after 0 rows, expected at least one"),
        ("train.json", "", "ends after 0 rows, expected at least one"),
        ("train.json", "[]", "ends after 0 rows, expected at least one"),
        (
            "train.tsv",
            'message\tkind\n"a\tb"\tham\n',
            "quotes count where a file's name ends in .cs",
        ),
    ],
)
def test_a_file_that_is_not_what_it_seems_is_reported_with_the_remedy(
    mine: Any, name: str, content: bytes | str, expected: str
) -> None:
    first = messages(mine(name, content))[0]
    assert expected in first
    assert f"{name}:" in first
    assert "\n" not in first


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train.xlsx", "a spreadsheet or a pickle can be exported as CSV"),
        ("train.parquet.gz", "expected a file that ends in .tsv, .txt, .csv, .jsonl, .json, .parq"),
        ("train.gz", "expected a file that ends in"),
        ("folder.csv", "folder.csv: a folder; expected a file"),
        ("pipe.csv", "pipe.csv: no regular file; expected a file"),
    ],
)
def test_a_file_of_another_kind_is_refused_before_it_is_opened(
    mine: Any, tmp_path: Path, name: str, expected: str
) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    task = mine("train.csv", csv(), text=["message"])
    task.files.train = name
    (tmp_path / "train.xlsx").touch()
    (message,) = validate_task(task)
    assert expected in message
    task.data_dir = str(tmp_path / "train.csv")
    assert validate_task(task)[-1].endswith("a file; expected the folder that holds it")


def test_a_packed_file_counts_as_what_it_may_hold(mine: Any, tmp_path: Path) -> None:
    plain, packed = mine("train.csv", csv()), mine("train.csv.gz", gzipped(csv().encode()))
    size = (tmp_path / "train.csv.gz").stat().st_size
    dev = (tmp_path / "dev.csv").stat().st_size
    assert data_bytes(plain) == len(csv().encode()) + dev
    assert data_bytes(packed) == 4 * size + dev


@pytest.mark.parametrize("name", ["test.csv.gz", "test.parquet", "test.json"])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_test_set_counts_where_it_has_labels_in_any_format(
    mine: Any, tmp_path: Path, name: str, labelled: bool
) -> None:
    frame = pd.DataFrame({"message": ["one", "two"], "kind": ["ham", "spam"] if labelled else None})
    if "csv" in name:
        frame.to_csv(tmp_path / name, index=False)
    elif "json" in name:
        frame.to_json(tmp_path / name, orient="records")
    else:
        frame.to_parquet(tmp_path / name)
    task = mine("train.csv", csv(), test=name)
    task.select = task.report = None
    (tmp_path / "dev.csv").write_text(csv() + "more,ham\n")
    task.data_dir = str(tmp_path)
    if labelled:
        assert list(read_task(task).report) == [["one", 0], ["two", 1]]
    else:
        assert "train: 4 rows" not in str(read_task(task).rows)
        assert read_task(task).parts == ("train", "dev")


ENDS = [".csv", ".tsv", ".json", ".jsonl", ".parquet", *(f".csv{end}" for end in PACK)]
GOOD = [
    b"",
    csv().encode(),
    json.dumps(objects()).encode(),
    *(pack(b"a") for pack in PACK.values()),
]


@given(
    start=st.sampled_from(GOOD),
    at=st.integers(0, 99),
    put=st.binary(max_size=9),
    end=st.sampled_from(ENDS),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-32", "cp1252", "shift_jis", "utf-7"]),
)
def test_no_file_is_a_traceback(
    tmp_path_factory: Any, start: bytes, at: int, put: bytes, end: str, encoding: str
) -> None:
    path = tmp_path_factory.mktemp("any") / f"train{end}"
    path.write_bytes(start[:at] + put + start[at:])
    files = FileSource(text=["message"], label="kind", encoding=encoding)
    found = Collector(TaskConfig(labels=NAMES), files, str(path), None)
    found.add_all(read_rows(path, files, found))
    assert found.mistakes or len(found.examples()) > 0
    assert labelled(path, files) in {True, False}
