"""d90 in a few words is what the table says of the same records."""

from pathlib import Path

import pytest

from said_lightning.analysis.estimator import estimate
from said_lightning.analysis.words import words
from said_lightning.runs.index import find
from said_lightning.runs.record import Metric, Record


def runs(
    method: str, *values: tuple[int, float], projection: str | None = "fastfood"
) -> list[Record]:
    """Return runs of a method at some d."""
    same = {"model": "m", "task": "t", "status": "done", "seed": 0, "lr": 0.1}
    return [
        Record(
            **same,  # type: ignore[arg-type]
            method=method,
            projection=projection,
            d=d,
            D=10**6,
            metric=Metric(name="accuracy", value=value, trivial=0.5),
        )
        for d, value in values
    ]


FULL = runs("full", (10**6, 1.0), projection=None)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], ""),
        (FULL, ""),
        (runs("said", (100, 0.6)), ""),
        ([*FULL, *runs("said", (100, 0.6))], "SAID d90 > 100"),
        ([*FULL, *runs("said", (100, 0.95))], "SAID d90 <= 100"),
        (
            [*FULL, *runs("did", (100, 0.6)), *runs("said", (100, 0.95))],
            "DID d90 > 100, SAID d90 <= 100",
        ),
        (
            [*FULL, *runs("did", (9, 0.6)), *runs("did", (9, 0.95), projection="dense")],
            "did dense d90 <= 9, did fastfood d90 > 9",
        ),
    ],
)
def test_what_is_known_so_far_is_said(records: list[Record], expected: str) -> None:
    assert words(records) == expected


def test_d90_of_the_demo_is_that_of_its_table() -> None:
    records, _ = find(Path(__file__).parents[2] / "results" / "demo")
    found = {row.method: row.d90 for row in estimate(records)}
    assert words(records) == f"DID d90 ~ {found['did']:,}, SAID d90 ~ {found['said']:,}"
