"""Tokens are made once for the same data, tokenizer and length, whoever asks and whoever dies."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from said_lightning.data import tokens as encoded
from said_lightning.data.examples import Examples
from said_lightning.data.readers import read_task
from said_lightning.data.tokens import Encoded, cache, encode, tokenizer_sha256
from said_lightning.errors import UserError

# A job of its own: `slow` keeps it busy while it tokenises, so that others come meanwhile.
JOB = """
import logging, sys, time
from transformers import AutoTokenizer
from said_lightning.data import tokens as encoded
from said_lightning.data.readers import read_task
from said_lightning.data.task import FileSource, TaskConfig
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
folder, tokenizer, slow = sys.argv[1:]
files = FileSource(text=["sentence"])
task = TaskConfig("t", labels=["0", "1"], metric="accuracy", metrics=["accuracy"], files=files)
task.data_dir = folder
task.select = task.report = 'dev'
encoded.CHUNK = 10
rows = read_task(task).train
whole = encoded._chunks
def slowly(examples):
    for chunk in whole(examples):
        yield chunk
        print("chunk", flush=True)
        time.sleep(float(slow))
encoded._chunks = slowly
print(encoded.encode(rows, AutoTokenizer.from_pretrained(tokenizer), 16).starts.tolist()[-1])
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache."""
    monkeypatch.setenv("SAID_CACHE", str(tmp_path / "cache"))
    return cache()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with 100 rows to train on."""
    for name, start in (("train.tsv", 0), ("dev.tsv", 100)):
        lines = [f"a {'good ' * (i % 5)}film {start + i}\t{i % 2}" for i in range(100)]
        (tmp_path / name).write_text("\n".join(["sentence\tlabel", *lines]))
    return tmp_path


@pytest.fixture
def rows(make_task: Any, own_rows: Any, folder: Path) -> Examples:
    """Return the rows of that folder."""
    return read_task(make_task("sst2", data_dir=str(folder), rows=own_rows)).train


def same(one: Encoded, other: Encoded) -> bool:
    """Whether two are the same tokens."""
    fields = all(np.array_equal(one.fields[name], other.fields[name]) for name in one.fields)
    return fields and np.array_equal(one.starts, other.starts)


def count_chunks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Take down each time that rows are tokenised."""
    calls: list[int] = []
    tokenise = encoded._tokenise

    def counted(rows: Examples, *given: Any) -> None:
        calls.append(len(rows))
        tokenise(rows, *given)

    monkeypatch.setattr(encoded, "_tokenise", counted)
    return calls


def test_the_same_rows_are_tokenised_once(
    rows: Examples, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_chunks(monkeypatch)
    first = encode(rows, tokenizer, 16)
    assert same(first, encode(rows, tokenizer, 16))
    assert len(calls) == 1
    encode(rows, tokenizer, 8)
    encode(rows.take(np.arange(50)), tokenizer, 16)
    assert len(calls) == 3


def test_another_vocabulary_is_another_tokenizer(tokenizer: PreTrainedTokenizerFast) -> None:
    before = tokenizer_sha256(tokenizer)
    tokenizer(["a film"], truncation=True, max_length=9)
    assert tokenizer_sha256(tokenizer) == before
    tokenizer.add_tokens(["plot"])
    assert tokenizer_sha256(tokenizer) != before


def test_tokens_stay_on_disk(rows: Examples, tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = encode(rows, tokenizer, 16)
    assert all(isinstance(flat, np.memmap) for flat in tokens.fields.values())
    (row,) = tokens[np.array([3])]
    assert row["input_ids"] == tokenizer("a good good good film 3")["input_ids"]
    assert row["labels"] == 1


def start(folder: Path, tokenizer: PreTrainedTokenizerFast, slow: float) -> subprocess.Popen[str]:
    """Start a job that tokenises the folder's rows."""
    tokenizer.save_pretrained(folder / "tokenizer")
    arguments = [sys.executable, "-c", JOB, str(folder), str(folder / "tokenizer"), str(slow)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_jobs_that_start_at_once_tokenise_once(
    folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    jobs = [start(folder, tokenizer, 0.1) for _ in range(3)]
    outputs = [job.communicate()[0].split("\n") for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0, 0]
    assert sum(line == "tokenising 100 rows" for output in outputs for line in output) == 1
    assert len({output[-2] for output in outputs}) == 1


def test_a_killed_job_leaves_nothing_that_another_trusts(
    folder: Path, tokenizer: PreTrainedTokenizerFast, rows: Examples, own_cache: Path
) -> None:
    job = start(folder, tokenizer, 1)
    assert job.stdout is not None
    assert "chunk" in (job.stdout.readline() + job.stdout.readline())
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    job.stdout.close()
    assert [path.suffix for path in own_cache.iterdir() if path.is_dir()] == [".part"]
    output = start(folder, tokenizer, 0).communicate()[0].split("\n")
    assert "tokenising 100 rows" in output
    assert [path.suffix for path in own_cache.iterdir() if path.is_dir()] == [""]
    assert encode(rows, tokenizer, 16).starts[-1] == int(output[-2])


def test_a_cache_that_cannot_be_written_is_reported(
    rows: Examples,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SAID_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"tokens: no tokens can be kept here: Not a directory"):
        encode(rows, tokenizer, 16)
