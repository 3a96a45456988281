"""`said bench`: every contender, every d and several models, as a table and as JSON."""

import json
import platform
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from said_lightning.tools.bench.contenders import CONTENDERS
from said_lightning.tools.bench.measure import DEVICE, peak_bytes, projection_times, step_times

DS = [100, 1000, 10_000, 100_000]
MODELS = {"cpu": ["bert-tiny", "bert-mini", "bert-small", "minilm"], "cuda": ["roberta-large"]}
SHAPE = (32, 128)


def bench(model: str, d: int, rounds: int) -> dict[str, Any]:
    """Measure all: steps in seconds, memory in bytes, projections of each model over d."""
    names = [name for name in CONTENDERS if name != "public"]
    steps = step_times(names, model, d, [SHAPE], rounds)
    # One round of it takes as long as all rounds of the others.
    steps |= step_times(["public"], model, d, [SHAPE], 1)
    return {
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "model": model,
        "d": d,
        "batch": SHAPE,
        "step_s": {name: median(taken) for name, taken in steps.items()},
        "peak_bytes": {name: peak_bytes(name, model, d, SHAPE) for name in CONTENDERS},
        "projection_s": {
            other: {
                name: median(taken) for name, taken in projection_times(other, DS, rounds).items()
            }
            for other in MODELS[DEVICE]
        },
        "gpu": "measured" if DEVICE == "cuda" else "unmeasured",
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Print a measurement as two tables."""
    steps, peaks = result["step_s"], result["peak_bytes"]
    size, tokens = result["batch"]
    title = f"{result['model']}, d = {result['d']:,}, batch {size} x {tokens}, {result['device']}"
    table = Table("", "step, s", "x full", "peak, MB", title=title)
    for name, seconds in steps.items():
        relative = seconds / steps["full"]
        table.add_row(name, f"{seconds:.3f}", f"{relative:.2f}", f"{peaks[name] / 1e6:,.0f}")
    console.print(table)
    table = Table("model", "copy, s", *(f"d = {d:,}" for d in DS), title="project + pull back, s")
    for model, times in result["projection_s"].items():
        both = (times[f"project {d}"] + times[f"pull back {d}"] for d in DS)
        table.add_row(model, f"{times['copy']:.4f}", *(f"{seconds:.4f}" for seconds in both))
    console.print(table)
    if result["gpu"] == "unmeasured":
        console.print("GPU: unmeasured")


def write(result: dict[str, Any], path: Path) -> None:
    """Write a measurement as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
