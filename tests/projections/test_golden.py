"""P never changes: committed values hold, with every engine that this machine has."""

import json
from pathlib import Path

import pytest
import torch

from said_lightning.projections import build, engines_of

GOLDEN = Path(__file__).with_name("golden.json")
# seed, tensor, d
CASES = [
    (0, "w", 16),
    (1, "w", 100),
    (0, "bert.x", 1000),
    (7, "w", 5000),
    (0, "w", 40_000),
    (2**31, "w", 70_000),
]


def values(engine: str) -> dict[str, list[str]]:
    """Fingerprint and three weights of six cases; these may never change."""
    found = {}
    for seed, tensor, d in CASES:
        projection = build("fastfood", {tensor: 100_000}, d, seed, engine)
        delta = projection.project(torch.ones(d), tensor)[[0, 1, 99_999]]
        found[f"{seed} {tensor} {d}"] = [projection.fingerprint(), *map(float.hex, delta.tolist())]
    return found


@pytest.mark.parametrize("engine", [e for e in engines_of("fastfood") if e != "triton"])
def test_p_is_what_it_was_when_the_golden_values_were_committed(engine: str) -> None:
    assert values(engine) == json.loads(GOLDEN.read_text())


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(values("torch"), indent=1) + "\n")
