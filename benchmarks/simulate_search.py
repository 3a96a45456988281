"""The search on harsh simulated series: how often its interval holds the true d90, and its price.

    python -m benchmarks.simulate_search results/simulated

writes `search.json`, on families of curves that nothing was chosen on.
"""

import json
import math
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulate.coverage import Case, tally
from benchmarks.simulate.families import HELD_OUT, Family
from benchmarks.simulate.series import Simulated, draw
from said_lightning import measure
from said_lightning.search.answer import Answer

LOW, HIGH = 20, 300_000  # of the range that is searched; d90 lies between 200 and 31,600
SERIES = 400


def searched(series: Simulated, low: int = LOW, high: int = HIGH, **options: Any) -> Answer:
    """Measure a series, with row scores."""

    def train(job: Any) -> Any:
        return series.run(job.d, job.rate, job.seed, job.stage)

    return measure(train, low=low, high=high, trivial=series.measured_trivial(), **options)


def case(series: Simulated, answer: Answer) -> Case:
    """Return an answer's interval beside the truth."""
    low, high = answer.interval
    place = (low or 0, high or math.inf, series.d90, (LOW, HIGH))
    return Case(*place, series.family, series.tails, series.stuck > 0)


def coverage(number: int, families: Mapping[str, Family], **options: Any) -> dict[str, Any]:
    """Search many series and count how often the interval holds the truth."""
    cases, runs, verdicts = [], [], Counter[str]()
    for key in range(number):
        series = draw(key, families)
        answer = searched(series, **options)
        verdicts[answer.verdict] += 1
        runs.append(len(answer.runs))
        # Without an interval there is nothing that holds.
        if answer.interval != (None, None):
            cases.append(case(series, answer))
    return {
        **tally(cases),
        "verdicts": dict(sorted(verdicts.items())),
        "runs": {"mean": float(np.mean(runs)), "most": max(runs)},
    }


def main(folder: Path, number: int = SERIES) -> None:
    """Write the file."""
    folder.mkdir(parents=True, exist_ok=True)
    found = coverage(number, HELD_OUT)
    (folder / "search.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
