"""Collect how real runs scatter over seeds: how far each lies from the mean of its d.

    python -m benchmarks.simulate.residuals results results/simulated/residuals.json

Residuals are of the metric on the report rows, at the best rate of each d, scaled to the spread
around the true mean, and sorted by the height of their curve: below half of the way from the
trivial score to full fine-tuning's, below 85 % of it, above. Stuck runs are among them. Besides,
how much of the variance of single runs seeds have in common over d, and how much of it full
fine-tuning has; cells with a run that lies further than FAR from their mean are left out of that.
"""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from said_lightning.runs.index import find
from said_lightning.runs.record import Record

COMMAND = "python -m benchmarks.simulate.residuals results results/simulated/residuals.json"
STUDIES = ("projections", "rates")
FAR = 0.045  # as stuck runs do
SEEDS = 3  # the fewest that show what seeds share


class Series(NamedTuple):
    """What the runs of a series have in common, but for d, rate and seed."""

    setting: str | None
    task: str
    method: str
    projection: str | None


class Cell(NamedTuple):
    """The runs of a series at one d and its best rate: the metric of each seed."""

    series: Series
    trivial: float
    runs: dict[int, float]


def collect(folder: Path) -> dict[str, Any]:
    """Return the residuals of all cells of two seeds or more, and what they were made from."""
    records = [one for study in STUDIES for one in find(folder / study)[0]]
    cells = best([one for one in records if one.status == "done"])
    tops = {one.series.setting: fmean(one.runs.values()) for one in cells if _is_full(one)}
    found: dict[str, list[float]] = {"low": [], "middle": [], "high": []}
    tasks: Counter[str] = Counter()
    for series, low, runs in cells:
        top = tops.get(series.setting, low)
        if top > low + 0.05:
            values = np.array(list(runs.values()))
            height = (values.mean() - low) / (top - low)
            name = "low" if height < 0.5 else "middle" if height < 0.85 else "high"
            rests = (values - values.mean()) * (len(values) / (len(values) - 1)) ** 0.5
            tasks[series.task] += len(runs)
            found[name] += [round(float(rest), 6) for rest in rests]
    return {
        "command": COMMAND,
        "runs": dict(sorted(tasks.items())),
        "standard_deviation": {name: round(float(np.std(r)), 5) for name, r in found.items()},
        **_shares(cells),
        "residuals": found,
    }


def _is_full(cell: Cell) -> bool:
    return cell.series.method == "full"


def best(records: Sequence[Record]) -> list[Cell]:
    """Return each d of each series at the rate of the highest mean, of rates with two seeds."""
    rates: dict[tuple[Series, int], dict[float, dict[int, float]]] = defaultdict(dict)
    trivial: dict[str | None, float] = {}
    for one in records:
        low, value = one.metric.trivial, one.metric.value
        if one.d and one.lr and low is not None and value is not None:
            series = Series(one.setting_hash, one.task, one.method, one.projection)
            # The runs of one study may be copied into another.
            rates[series, one.d].setdefault(one.lr, {})[one.seed] = value
            trivial[one.setting_hash] = low
    cells = []
    for (series, _), tried in rates.items():
        if several := [runs for runs in tried.values() if len(runs) > 1]:
            runs = max(several, key=lambda runs: fmean(runs.values()))
            cells.append(Cell(series, trivial[series.setting], runs))
    return cells


def _shares(cells: Sequence[Cell]) -> dict[str, float]:
    """Return what seeds share over d, and full fine-tuning's variance, over that of single runs."""
    every: dict[Series, list[dict[int, float]]] = defaultdict(list)
    sums = np.zeros(3)
    full = np.zeros(2)
    for cell in cells:
        values = np.array(list(cell.runs.values()))
        if np.abs(values - values.mean()).max() >= FAR:
            continue
        if _is_full(cell):
            full += float(((values - values.mean()) ** 2).sum()), len(values) - 1
        elif len(values) >= SEEDS:
            every[cell.series].append(cell.runs)
    for several in every.values():
        common = sorted(set.intersection(*map(set, several)))
        if len(several) > 2 and len(common) > 1:
            sums += _variances(np.array([[runs[seed] for seed in common] for runs in several]))
    shared, own, freedom = sums
    return {
        "shared_over_own": round(float(shared / own), 3),
        "full_over_own": round(float(full[0] / full[1] / (own / freedom)), 3),
    }


def _variances(values: Float[ndarray, "points seeds"]) -> Float[ndarray, "3"]:
    """Return the shared variance and that of single runs, both by their freedom, and that."""
    points, seeds = values.shape
    rests = values - values.mean(1, keepdims=True)
    effect = rests.mean(0)
    own = float(((rests - effect) ** 2).sum()) / ((points - 1) * (seeds - 1))
    shared = float((effect**2).sum()) / (seeds - 1) - own / points
    return np.array([shared, own, 1.0]) * (seeds - 1)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(collect(Path(sys.argv[1])), indent=1) + "\n")
