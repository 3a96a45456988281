"""What the Triton engine costs, counted without a GPU: instructions, registers, launches."""

import os
from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

pytest.importorskip("triton", reason="triton is not installed")

from said_lightning.projections.core import projection
from said_lightning.projections.engines import fastfood_triton, triton_fold
from said_lightning.projections.engines import triton_fastfood as kernels
from said_lightning.subspace import gradients, subspace
from said_lightning.tools.bench.models import MODELS
from said_lightning.tools.bench.sass import fastfood_cost

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing"
)

# What was reached, and 3 % for other versions of the compiler.
CEILINGS = [
    ("write", 1024, 71),
    ("pull_back", 1024, 86),
    ("write", 16384, 82),
    ("pull_back", 16384, 99),
]


@pytest.mark.parametrize(("name", "n", "ceiling"), CEILINGS)
def test_a_number_costs_few_instructions_and_no_register_spills(
    name: str, n: int, ceiling: float
) -> None:
    found, instructions = fastfood_cost(name, n)
    assert instructions <= ceiling
    assert found.spilled == 0


@pytest.mark.parametrize("n", [1024, 16384])
def test_weights_and_gradients_are_read_and_written_128_bits_at_a_time(n: int) -> None:
    numbers = max(n, fastfood_triton.TILE) // (fastfood_triton.warps_of(n) * 32)  # of a thread
    write, _ = fastfood_cost("write", n)
    pull_back, _ = fastfood_cost("pull_back", n)
    # Of 4 bytes: base and x; of 2: the permutation.
    assert write.wide["LDG"] >= 2 * numbers / 4 + numbers / 8
    assert write.wide["STG"] == numbers / 4
    assert write.narrow["STG"] == 0
    assert pull_back.wide["LDG"] >= numbers / 4 + numbers / 8
    # The magnitudes of normals are the one thing that is looked up number by number.
    for found in (write, pull_back):
        assert found.narrow["LDG"] < numbers + 16


# What only looks at tensors or allocates them, and asks a GPU for nothing.
IDLE = {"view", "slice", "select", "detach", "alias", "expand", "unsqueeze", "permute", "t"}
IDLE |= {"empty", "new_empty", "empty_like", "_reshape_alias", "as_strided", "squeeze_"}


class Launches(TorchDispatchMode):
    """Count what a GPU would be asked to do, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if isinstance(result, torch.Tensor) and result.is_meta and name not in IDLE:
            self.found[name] += 1
        return result


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    """Count launches of the Triton engine on tensors without memory."""
    found = Launches()

    class Counting:
        def __init__(self, name: str) -> None:
            self.name = name

        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            def launch(*_: Any, **__: Any) -> None:
                found.found[self.name] += 1

            return launch

    for owner, name in (
        (kernels, "write"), (kernels, "pull_back"),
        (triton_fold, "_fold"), (triton_fold, "_unfold"), (triton_fold, "_add_up"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, Counting(name))
    monkeypatch.setattr(gradients, "WAITING", gradients.WAITING_ON_GPU)
    monkeypatch.setattr(projection, "ENGINES", {"meta": "triton"})
    monkeypatch.setattr(subspace, "validate_weights", lambda *_: [])
    return found


@pytest.mark.parametrize("d", [1000, 10_000])
def test_an_update_of_roberta_large_takes_60_launches_at_most(launches: Launches, d: int) -> None:
    with torch.device("meta"):
        model = MODELS["roberta-large"]()
    space = subspace.Subspace(model, d)
    ids = torch.zeros(4, 16, dtype=torch.long, device="meta")
    for name in ("_take", "_finish"):
        call = getattr(space._gradients, name)

        def counted(*arguments: Any, call: Any = call) -> None:
            with launches:
                call(*arguments)

        setattr(space._gradients, name, counted)
    space.attach()
    for _ in range(2):  # in the first, tables are made
        launches.found.clear()
        model(input_ids=ids, labels=ids[:, 0]).loss.backward()
        with launches:
            space.write()
        space.theta.grad = space.lambdas.grad = None
    assert sum(launches.found.values()) <= 60, launches.found
