"""What `said check` says of memory lies within 15 % of the peak that the run's record has.

MiniLM, and the models whose folders are given: python benchmarks/budget.py mpnet=FOLDER ...
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from said_lightning.tools.bench.claims import Claim, assert_all

SAID = Path(sys.executable).with_name("said")
ROWS, WORDS = 96, 300  # of the longest texts, so that each batch is as large as it can be
TASK: dict[str, Any] = {
    "name": "long",
    "labels": ["a", "b"],
    "metric": "accuracy",
    "metrics": ["accuracy"],
    "max_length": 128,
    "files": {"train": "train.csv", "eval": "dev.csv", "text": ["text"], "label": "label"},
}
METHODS = {
    "full": ["method=full"],
    "SAID": ["method=said", "d=1000"],
    "SAID kronecker": ["method=said", "projection=kronecker", "d=1000"],
}


def plant(folder: Path) -> None:
    """Leave a task of long texts."""
    (folder / "task").mkdir()
    (folder / "task" / "long.yaml").write_text(yaml.safe_dump({**TASK, "data_dir": str(folder)}))
    for split, rows, text in (("train", ROWS, "word " * WORDS), ("dev", 8, "short ")):
        lines = (f"{text}{row},{'ab'[row % 2]}" for row in range(rows))
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *lines]))


def compared(folder: Path, *overrides: str) -> float:
    """Return what the check says of a run's peak over the peak itself."""
    out = folder / "out"
    command = ["--config-dir", str(folder), "task=long", "trainer.epochs=1", f"out={out}"]

    def said(verb: str) -> str:
        return subprocess.run(
            [SAID, verb, *command, *overrides], check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    found = re.search(r"^memory about ([\d.]+) GB", said("check"), re.MULTILINE)
    assert found is not None
    said("train")
    (record,) = out.rglob("result.json")
    peak = json.loads(record.read_text())["peak_memory_bytes"]
    return float(found[1]) * 1e9 / peak


def batches(size: int) -> list[str]:
    """Return the overrides for two batches: the peak lies in the second, beside AdamW's moments."""
    return [f"trainer.batch_size={size}", f"task.train_limit={2 * size}"]


models = {"minilm": ["model=minilm", *batches(32)]}
for one in sys.argv[1:]:
    name, _, path = one.partition("=")
    models[name] = [f"model.path={path}", f"model.name={name}", *batches(8)]
claims = []
for model, own in models.items():
    for method, overrides in METHODS.items():
        with TemporaryDirectory() as folder:
            plant(Path(folder))
            ratio = compared(Path(folder), *own, *overrides)
        claims.append(
            Claim(f"memory by check / peak, {model} {method}", ratio, most=1.15, least=0.85)
        )
assert_all(claims)
