"""Ways to spoil each task's files: none is a traceback, none loses a row in silence.

SAID_MUTATIONS=500 tries as many on each task.
"""

import os
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from said_lightning.data.examples import SHOWN
from said_lightning.data.readers import read_task
from said_lightning.errors import UserError

CONF = Path(__file__).parents[2] / "conf" / "task"
YAMLS = {path.stem: OmegaConf.load(path) for path in sorted(CONF.glob("*.yaml"))}
# Texts to be written have tests of their own.
ORIGINAL = [name for name, one in YAMLS.items() if "files" in one and one.kind != "generate"]
# 500 take seconds for each task.
MUTATIONS = int(os.environ.get("SAID_MUTATIONS", "44"))
SEPARATORS = {".csv": b",", ".tsv": b"\t", ".jsonl": b", "}
Lines = list[bytes]
Mutation = Callable[[random.Random, Lines, bytes], Lines | bytes]


def change(rng: random.Random, lines: Lines, new: Callable[[bytes], bytes]) -> Lines:
    """Change one line."""
    at = rng.randrange(len(lines))
    return [*lines[:at], new(lines[at]), *lines[at + 1 :]]


def put(rng: random.Random, line: bytes, what: bytes) -> bytes:
    """Put something anywhere into a line."""
    at = rng.randrange(len(line) + 1)
    return line[:at] + what + line[at:]


def missing_column(rng: random.Random, lines: Lines, tab: bytes) -> Lines:
    """Drop the same column from every line."""
    column = rng.randrange(lines[0].count(tab) + 1)
    cells = [line.split(tab) for line in lines]
    return [tab.join(row[:column] + row[column + 1 :]) for row in cells]


def wrong_label(rng: random.Random, lines: Lines, tab: bytes) -> Lines:
    """Put nonsense in place of a cell, which may be the label."""
    return change_cell(rng, lines, tab, rng.choice([b"perhaps", b"", b"-1", b"7", b"1.5"]))


def nan_score(rng: random.Random, lines: Lines, tab: bytes) -> Lines:
    """Put NaN in place of a cell, which may be the score."""
    return change_cell(rng, lines, tab, rng.choice([b"nan", b"NaN", b"inf", b"-inf", b"1e999"]))


def change_cell(rng: random.Random, lines: Lines, tab: bytes, new: bytes) -> Lines:
    """Put something in place of a cell."""

    def spoil(line: bytes) -> bytes:
        cells = line.split(tab)
        cells[rng.randrange(len(cells))] = new
        return tab.join(cells)

    return change(rng, lines, spoil)


def bad_utf8(rng: random.Random, lines: Lines, tab: bytes) -> Lines:
    """Put bytes into a line that are no UTF-8."""
    return change(rng, lines, lambda line: put(rng, line, rng.choice([b"\xff", b"\xa3", b"\xc3("])))


def truncated_line(rng: random.Random, lines: Lines, tab: bytes) -> Lines:
    """Cut a line, or the file in a line."""
    at = rng.randrange(len(lines))
    cut = lines[at][: rng.randrange(len(lines[at]))]
    return [*lines[:at], cut, *(lines[at + 1 :] if rng.random() < 0.5 else [])]


MUTATE: dict[str, Mutation] = {
    "missing column": missing_column,
    "extra tab": lambda rng, lines, tab: change(rng, lines, lambda line: put(rng, line, tab)),
    "stray quote": lambda rng, lines, tab: change(rng, lines, lambda line: put(rng, line, b'"')),
    "BOM": lambda rng, lines, tab: [b"\xef\xbb\xbf" + lines[0], *lines[1:]],
    "CRLF": lambda rng, lines, tab: [line + b"\r" for line in lines],
    "empty file": lambda rng, lines, tab: rng.choice([b"", b"\n", b"\xef\xbb\xbf", b"\r\n"]),
    "wrong label": wrong_label,
    "bad UTF-8": bad_utf8,
    "truncated line": truncated_line,
    "NaN score": nan_score,
    "swapped splits": lambda rng, lines, tab: lines,
}
HARMLESS = {"BOM", "CRLF"}
FATAL = {"empty file", "swapped splits"}


def spoil(rng: random.Random, name: str, planted: Any) -> Path:
    """Spoil one file, or swap two, and give its path."""
    path = rng.choice(sorted(planted.rows))
    if name == "swapped splits":
        first, second = planted.splits["train"][0], planted.splits["dev"][0]
        one, other = first.read_bytes(), second.read_bytes()
        first.write_bytes(other)
        second.write_bytes(one)
        return Path(first)
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    changed = MUTATE[name](rng, lines, SEPARATORS[path.suffix])
    path.write_bytes(changed if isinstance(changed, bytes) else b"\n".join(changed) + b"\n")
    return Path(path)


def splits_of(planted: Any) -> dict[str, list[list[Any]]]:
    """Read a task's splits."""
    data = read_task(planted.task)
    splits = {"train": data.train, "dev": data.report, **data.also}
    if "test" in planted.splits:
        splits["test"] = read_task(replace(planted.task, report="test")).report
    return {split: list(rows) for split, rows in splits.items()}


@pytest.mark.parametrize("name", ORIGINAL)
def test_no_mutation_is_a_traceback_or_loses_a_row_in_silence(plant: Any, name: str) -> None:
    planted = plant(name)
    original = {path: path.read_bytes() for path in planted.rows}
    expected = {split: planted.expected(split) for split in planted.splits}
    sizes = {split: len(rows) for split, rows in expected.items()}
    rng = random.Random(name)
    for number in range(MUTATIONS):
        mutation = list(MUTATE)[number % len(MUTATE)]
        path = spoil(rng, mutation, planted)
        try:
            found = splits_of(planted)
        except UserError as error:
            if mutation in HARMLESS:
                raise
            check_messages(error.messages, planted, path)
        else:
            assert mutation not in FATAL
            assert {split: len(rows) for split, rows in found.items()} == sizes
            assert found == expected or mutation not in HARMLESS
        for part, content in original.items():
            part.write_bytes(content)
    assert splits_of(planted) == expected


def check_messages(messages: tuple[str, ...], planted: Any, path: Path) -> None:
    """Each message is one line that begins with file and line; a file has three at most.

    A test set that was spoiled may have no label left: a run that needs it says so.
    """
    if path in planted.splits.get("test", []) and "has no labelled test set here" in messages[0]:
        messages = messages[1:]
    assert all(re.match(r"/[^\n]+:\d+: [^\n]+$", message) for message in messages), messages
    read = [split for split, paths in planted.splits.items() if path in paths]
    assert len(messages) <= (SHOWN + 1) * len(read)
