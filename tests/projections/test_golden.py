"""P is frozen: these values never change again, with any engine, in any version.

Studies, artifacts and certificates stand on them. Where this fails, the code is wrong, not
golden.json. (`kronecker` and `released` are not frozen.)
"""

import json
from pathlib import Path

import pytest
import torch

from said_lightning.projections import build, engines_of

GOLDEN = Path(__file__).with_name("golden.json")
# Seed, tensor, d.
CASES = [
    (0, "w", 16),
    (1, "w", 100),
    (0, "bert.x", 1000),
    (7, "w", 5000),
    (0, "w", 40_000),
    (2**31, "w", 70_000),
]
# The tensor's rows and the cases of each projection; what has O(D d) entries has fewer.
FROZEN = {
    "fastfood": (100_000, CASES),
    "dense": (1000, CASES[:4]),
    "sparse": (10_000, CASES[1:5]),
    "partition": (100_000, CASES),
}
EXACT = "fastfood"  # every engine adds in one order, so that all round alike


def values(name: str, engine: str) -> dict[str, list[str]]:
    """Return the fingerprint and three weights of each case."""
    rows, cases = FROZEN[name]
    found = {}
    for seed, tensor, d in cases:
        projection = build(name, {tensor: rows}, d, seed, engine)
        # But for fastfood, of what is summed in any order all is 0 but one, or whole numbers.
        theta = torch.ones(d) if name == "fastfood" else torch.arange(1.0, d + 1)
        if name == "dense":
            theta *= torch.arange(d) == d // 2
        delta = projection.project(theta, tensor)[[0, 1, rows - 1]]
        found[f"{seed} {tensor} {d}"] = [projection.fingerprint(), *map(float.hex, delta.tolist())]
    return found


def golden(name: str) -> dict[str, list[str]]:
    """Return the committed values of a projection."""
    return json.loads(GOLDEN.read_text())[name]


@pytest.mark.parametrize("name", FROZEN)
def test_the_reference_is_what_it_was_to_the_bit(name: str) -> None:
    assert values(name, "torch") == golden(name)


@pytest.mark.parametrize("name", FROZEN)
def test_engines_of_the_cpu_are_what_they_were(name: str) -> None:
    for engine in set(engines_of(name)) - {"torch", "triton"}:
        found, committed = values(name, engine), golden(name)
        if name == EXACT:
            assert found == committed
        assert found.keys() == committed.keys()
        for case, (fingerprint, *weights) in found.items():
            assert fingerprint == committed[case][0]
            expected = [float.fromhex(weight) for weight in committed[case][1:]]
            # Two roundings of float32: of the scale and of the product.
            assert list(map(float.fromhex, weights)) == pytest.approx(expected, rel=2**-22)


if __name__ == "__main__":
    found = {name: values(name, "torch") for name in FROZEN}
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
