from collections.abc import Callable
from typing import Any

import pytest

from said_lightning.runs.record import Metric, Record

MakeRun = Callable[..., Record]
MakeCurve = Callable[..., list[Record]]


@pytest.fixture(scope="session")
def run() -> MakeRun:
    """Return a maker of runs that are done; for method full, d is D."""

    def make(method: str, value: float | None, trivial: float | None = 0.5, **facts: Any) -> Record:
        facts = {
            "status": "done",
            "model": "minilm",
            "task": "sst2",
            "projection": None if method == "full" else "fastfood",
            "d": 10**6,
            "seed": 0,
            "lr": 0.1,
            "metric": Metric(name="accuracy", value=value, trivial=trivial),
            **facts,
        }
        return Record(method=method, **facts)

    return make


@pytest.fixture(scope="session")
def curve(run: MakeRun) -> MakeCurve:
    """Return a maker of full fine-tuning, and DID at d = 10, 100, 1000, ... with given values."""

    def make(*values: float, full: float = 0.8) -> list[Record]:
        points = [run("did", value, d=10 ** (i + 1)) for i, value in enumerate(values)]
        return [run("full", full), *points]

    return make
