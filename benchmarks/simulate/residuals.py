"""Collect how real runs scatter over seeds: how far each lies from the mean of its d and rate.

    python -m benchmarks.simulate.residuals results results/simulated/residuals.json

Residuals are of the last epoch's accuracy, scaled to the spread around the true mean, and sorted
by the height of their curve: below half of the way from the trivial score to full fine-tuning's,
below 85 % of it, above. Stuck runs are among them. Besides, how much of the variance of single runs
seeds have in common over d, and how much of it full fine-tuning has; cells with a run that lies
further than FAR from their mean are left out of that.
"""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

COMMAND = "python -m benchmarks.simulate.residuals results results/simulated/residuals.json"
FAR = 0.045  # as stuck runs do


Cells = dict[tuple[Any, ...], dict[int, float]]


def collect(folder: Path) -> dict[str, Any]:
    """Return the residuals of all cells of two seeds or more, and what they were made from."""
    cells, tops, chance = _read(folder)
    found: dict[str, list[float]] = {"low": [], "middle": [], "high": []}
    studies: Counter[str] = Counter()
    for key, runs in cells.items():
        low, top = chance[key[:3]], float(np.median(tops[key[:3]] or [np.nan]))
        if top > low + 0.05:
            values = np.array(list(runs.values()))
            height = (values.mean() - low) / (top - low)
            name = "low" if height < 0.5 else "middle" if height < 0.85 else "high"
            rests = (values - values.mean()) * (len(values) / (len(values) - 1)) ** 0.5
            studies[key[0]] += len(runs)
            found[name] += [round(float(rest), 6) for rest in rests]
    return {
        "command": COMMAND,
        "runs": dict(sorted(studies.items())),
        "standard_deviation": {name: round(float(np.std(r)), 5) for name, r in found.items()},
        **_shares(cells),
        "residuals": found,
    }


def _read(
    folder: Path,
) -> tuple[Cells, dict[tuple[str, ...], list[float]], dict[tuple[str, ...], float]]:
    """Return the cells of two seeds or more, each study's full metrics, and its trivial one."""
    cells: Cells = defaultdict(dict)
    tops: dict[tuple[str, ...], list[float]] = defaultdict(list)
    chance: dict[tuple[str, ...], float] = {}
    for path in sorted(folder.rglob("result.json")):
        run = json.loads(path.read_text())
        if run["status"] != "done" or run["metric"]["name"] != "accuracy" or run.get("stages"):
            continue
        study = (path.relative_to(folder).parts[0], run["model"], run["task"])
        chance[study] = run["metric"]["trivial"]
        if run["method"] == "full":
            tops[study].append(run["last"]["value"])
        key = (*study, run["method"], run.get("projection"), run.get("space"), run["d"], run["lr"])
        cells[key][run["seed"]] = run["last"]["value"]
    # The runs of one study may be copied into another.
    kept = {(key[1:], *runs.items()): key for key, runs in cells.items() if len(runs) > 1}
    return {key: cells[key] for key in kept.values()}, tops, chance


def _shares(cells: Cells) -> dict[str, float]:
    """Return what seeds share over d, and full fine-tuning's variance, over that of single runs."""
    series: dict[tuple[Any, ...], list[dict[int, float]]] = defaultdict(list)
    for key, runs in cells.items():
        values = np.array(list(runs.values()))
        if np.abs(values - values.mean()).max() < FAR:
            series[key[:6]].append(runs)
    sums = np.zeros(3)
    full = np.zeros(2)
    for key, several in series.items():
        common = sorted(set.intersection(*map(set, several)))
        values = np.array([[runs[seed] for seed in common] for runs in several])
        if key[3] == "full":
            full += float(((values[0] - values[0].mean()) ** 2).sum()), len(common) - 1
        elif len(several) > 2 and len(common) > 1:
            sums += _variances(values)
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
