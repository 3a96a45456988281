"""Collect how real runs scatter over seeds: how far each lies from the mean of its d and rate.

    python -m benchmarks.simulate.residuals RESULTS results/simulated/residuals.json

Residuals are of the last epoch's accuracy, scaled to the spread around the true mean, and sorted
by the height of their curve: below half of the way from the trivial score to full fine-tuning's,
below 85 % of it, above. Stuck runs are among them.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np


def collect(folder: Path) -> dict[str, Any]:
    """Return the residuals of all cells of two seeds or more, and what they were made from."""
    cells: dict[tuple[Any, ...], dict[int, float]] = defaultdict(dict)
    tops: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    chance: dict[tuple[Any, ...], float] = {}
    for path in sorted(folder.rglob("result.json")):
        run = json.loads(path.read_text())
        if run["status"] != "done" or run["metric"]["name"] != "accuracy" or run.get("stages"):
            continue
        study = (path.relative_to(folder).parts[0], run["model"], run["task"])
        value = run["last"]["value"]
        chance[study] = run["metric"]["trivial"]
        if run["method"] == "full":
            tops[study].append(value)
        key = (*study, run["method"], run.get("projection"), run.get("space"), run["d"], run["lr"])
        cells[key][run["seed"]] = value
    found: dict[str, list[float]] = {"low": [], "middle": [], "high": []}
    seen = set()
    for key, runs in cells.items():
        values = np.array(list(runs.values()))
        low, top = chance[key[:3]], float(np.median(tops[key[:3]] or [np.nan]))
        # The runs of one study may be copied into another.
        if len(values) < 2 or not top > low + 0.05 or (same := (key[1:], tuple(values))) in seen:
            continue
        seen.add(same)
        height = (values.mean() - low) / (top - low)
        name = "low" if height < 0.5 else "middle" if height < 0.85 else "high"
        rests = (values - values.mean()) * (len(values) / (len(values) - 1)) ** 0.5
        found[name] += [round(float(rest), 6) for rest in rests]
    return {
        "runs": sum(map(len, found.values())),
        "standard_deviation": {name: round(float(np.std(r)), 5) for name, r in found.items()},
        "residuals": found,
    }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(collect(Path(sys.argv[1])), indent=1) + "\n")
