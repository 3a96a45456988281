"""The search on harsh simulated series: how often its interval holds the true d90, and its price.

    python -m benchmarks.simulate_search results/simulated [SERIES]

writes `searches.json`, on families of curves that nothing was chosen on: the search as it is, with
more seeds, and with a width that is asked for; `searches-tuned.json` is of the families on which
numbers of seeds and gaps were chosen.
"""

import json
import math
import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.simulate.coverage import Case, tally
from benchmarks.simulate.families import HELD_OUT, TUNED, Family
from benchmarks.simulate.series import Simulated, draw
from said_lightning import measure
from said_lightning.search.answer import Answer
from said_lightning.search.jobs import Job, Scores

LOW, HIGH = 20, 300_000  # of the range that is searched; d90 lies between 200 and 31,600
SERIES = 800
# Series of their own: on those below 1,000 of the tuned families the search was developed.
TUNED_KEY, KEY = 20_000, 7_000_000
DESIGNS: dict[str, dict[str, Any]] = {
    "default": {},
    "20 seeds": {"seeds": 20, "budget": 400},
    "width 1.3": {"width": 1.3, "budget": 1000},
}


class Outcome(NamedTuple):
    """A search that has ended: its interval beside the truth, None where it has none."""

    case: Case | None
    verdict: str
    runs: int
    width: float


def searched(series: Simulated, **options: Any) -> Answer:
    """Measure a series, with row scores."""

    def train(job: Job) -> Scores:
        return series.run(job.d, job.rate, job.seed, job.stage)

    return measure(train, low=LOW, high=HIGH, trivial=series.measured_trivial(), **options)


def outcome(key: int, families: Mapping[str, Family], options: Mapping[str, Any]) -> Outcome:
    """Search one series."""
    series = draw(key, families)
    answer = searched(series, **options)
    found = answer.estimate
    if found is None:
        return Outcome(None, answer.verdict, len(answer.runs), math.inf)
    low, high = answer.interval
    case = Case(
        low=low or 0.0,
        high=high or math.inf,
        truth=series.d90,
        chosen=series.d90_at(answer.rate, answer.full_rate),
        span=(found.d[0], found.d[-1]),
        family=series.family,
        tails=series.tails,
        stuck=series.stuck > 0,
    )
    return Outcome(case, answer.verdict, len(answer.runs), case.width)


def coverage(
    number: int, first: int, families: Mapping[str, Family], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Search many series, and count how often the interval holds the truth and what it costs."""
    one = partial(outcome, families=families, options=options)
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(one, range(first, first + number), chunksize=10))
    runs = [each.runs for each in found]
    return {
        **tally([each.case for each in found if each.case is not None]),
        "verdicts": dict(sorted(Counter(each.verdict for each in found).items())),
        "runs": {"mean": round(float(np.mean(runs)), 1), "most": max(runs)},
        "width_quartiles": [
            round(float(width), 3) if math.isfinite(width) else None
            for width in np.quantile([e.width for e in found], [0.25, 0.5, 0.75], method="nearest")
        ],
    }


def main(folder: Path, number: int = SERIES) -> None:
    """Write the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, first, families in (
        ("searches", KEY, HELD_OUT),
        ("searches-tuned", TUNED_KEY, TUNED),
    ):
        found = {
            design: coverage(number, first, families, options)
            for design, options in DESIGNS.items()
        }
        (folder / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
