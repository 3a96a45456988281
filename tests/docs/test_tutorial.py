"""The tutorial runs from a clean kernel, and prints what it was committed with."""

import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.docs.tutorial import MINUTES, execute, read


def printed(cell: Any) -> dict[str, list[str]]:
    """Return the lines that a cell printed, by stream.

    Of what is measured, which another processor may round otherwise or be quicker with, the words
    that begin each line, the same ones once; so too of memory, which is another on a GPU.
    """
    measured = "measured" in cell.metadata.get("tags", [])
    found: dict[str, list[str]] = {}
    for one in cell.outputs:
        if one.output_type == "stream":
            lines = found.setdefault(one.name, [])
            for line in plain(one.text).splitlines():
                lines.append(words(line) if measured or line.startswith("memory") else line)
    return {name: list(dict.fromkeys(lines)) for name, lines in found.items()}


def words(line: str) -> str:
    """Return a line up to its first bracket or comma, # standing for each number."""
    numberless = re.sub(r"\d+(?:[.,:/]\d+)*(?:e-?\d+)?", "#", line)
    return " ".join(re.split(r"[(\[,;]", numberless)[0].split())


def plain(text: str) -> str:
    """Return what a terminal prints without its colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_the_tutorial_prints_what_it_was_committed_with_within_five_minutes(
    tmp_path: Path,
) -> None:
    start = time.monotonic()
    run = execute(tmp_path)
    assert time.monotonic() - start < 60 * MINUTES
    for shown, now in zip(read().cells, run.cells, strict=True):
        if shown.cell_type == "code":
            assert printed(now) == printed(shown), shown.source


def test_the_tutorial_was_committed_after_one_run_from_top_to_bottom() -> None:
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in cells]
    assert counts[0] == 1
    assert all(later == one + 1 for one, later in pairwise(counts))
    assert not any(one.output_type == "error" for cell in cells for one in cell.outputs)


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("12:30:01 epoch 1/2: train loss 0.6550, accuracy 0.5", "# epoch #: train loss #"),
        (" said    fastfood     157  found    1.31   2  1  3/3 ", "said fastfood # found # # # #"),
        (" said fastfood: the paper's reading > 1,000", "said fastfood: the paper's reading > #"),
        ("d90 80 [52, ...]  found", "d# #"),
    ],
)
def test_of_what_is_measured_the_words_are_compared(line: str, seen: str) -> None:
    assert words(line) == seen
