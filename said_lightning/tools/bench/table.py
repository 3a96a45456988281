"""`said bench`: contenders over d and over models, as tables and as JSON."""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from said_lightning.tools.bench.contenders import CONTENDERS, SUBSPACES
from said_lightning.tools.bench.measure import (
    DEVICE,
    Cell,
    cell_times,
    peak_bytes,
    projection_times,
)

DS = [100, 1000, 10_000]
PASSES = [*DS, 100_000]  # of a projection alone
MODELS = {"cpu": ["bert-mini", "minilm", "bert-base"], "cuda": ["roberta-large"]}
SHAPE = (32, 128)


def bench(models: Sequence[str], ds: Sequence[int], rounds: int) -> dict[str, Any]:
    """Measure all on each model: steps in seconds, memory in bytes, projections over d."""
    return {
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "batch": SHAPE,
        "steps": {model: steps(model, cells(ds), rounds) for model in models},
        "projection_s": {
            model: {
                name: median(taken)
                for name, taken in projection_times(model, PASSES, rounds).items()
            }
            for model in models
        },
        "gpu": "measured" if DEVICE == "cuda" else "unmeasured",
    }


def cells(ds: Sequence[int]) -> list[Cell]:
    """Return each contender with the d that it is measured at, all of them for a subspace."""
    return [(name, d) for name in CONTENDERS for d in (ds if name in SUBSPACES else [min(ds)])]


def steps(model: str, every: Sequence[Cell], rounds: int) -> list[dict[str, Any]]:
    """Return a row for each cell: d (None where it has no part), seconds, peak bytes."""
    times = cell_times(every, model, [SHAPE], rounds)
    return [
        {
            "contender": name,
            "d": d if name in SUBSPACES else None,
            "step_s": median(times[name, d]),
            "peak_bytes": peak_bytes(name, model, d, SHAPE),
        }
        for name, d in every
    ]


def show(result: dict[str, Any], console: Console) -> None:
    """Print a measurement as a table for each model, and one of projections."""
    size, tokens = result["batch"]
    for model, rows in result["steps"].items():
        (full,) = (row["step_s"] for row in rows if row["contender"] == "full")
        title = f"{model}, batch {size} x {tokens}, {result['device']}"
        table = Table("", "d", "step, s", "x full", "peak, MB", title=title)
        for row in rows:
            table.add_row(*cells_of(row, full))
        console.print(table)
    title = "project + pull back, s"
    table = Table("model", "copy, s", *(f"d = {d:,}" for d in PASSES), title=title)
    for model, times in result["projection_s"].items():
        both = (times[f"project {d}"] + times[f"pull back {d}"] for d in PASSES)
        table.add_row(model, f"{times['copy']:.4f}", *(f"{seconds:.4f}" for seconds in both))
    console.print(table)
    if result["gpu"] == "unmeasured":
        console.print("GPU: unmeasured")


def cells_of(row: dict[str, Any], full: float) -> list[str]:
    """Return a row as text, beside the seconds of a full step."""
    seconds = row["step_s"]
    return [
        row["contender"],
        f"{row['d']:,}" if row["d"] else "",
        f"{seconds:.2f}",
        f"{seconds / full:.2f}",
        f"{row['peak_bytes'] / 1e6:,.0f}",
    ]


def write(result: dict[str, Any], path: Path) -> None:
    """Write a measurement as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
