"""Times taken in turn in one process, and peak memory, each in a process of its own."""

import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from said_lightning.projections import Projection, build
from said_lightning.subspace.gradients import waiting
from said_lightning.tools.bench.contenders import CONTENDERS, Batch, Contender
from said_lightning.tools.bench.models import MODELS

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# What is freed goes back at once, so that resident memory is what is alive.
EXACT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
Times = dict[str, list[float]]
Cell = tuple[str, int]  # a contender's name, and its d
Name = TypeVar("Name")


def make_batch(model: nn.Module, size: int, tokens: int) -> Batch:
    """Draw a batch of `size` rows of `tokens` random tokens, all labelled 0, for a model."""
    generator = torch.Generator().manual_seed(0)
    words: int = model.config.vocab_size  # type: ignore[union-attr, assignment]
    ids = torch.randint(min(1000, words // 2), words, (size, tokens), generator=generator)
    labels = torch.zeros(size, dtype=torch.long)
    return {"input_ids": ids.to(DEVICE), "labels": labels.to(DEVICE)}


def contender(name: str, model: str, d: int) -> Contender:
    """Make a contender on a fresh model in training mode."""
    return CONTENDERS[name](MODELS[model]().to(DEVICE).train(), d)


def in_turn(actions: Mapping[Name, Callable[[], object]], rounds: int) -> dict[Name, list[float]]:
    """Time every action in seconds, once a round in turn, so that all see the same machine.

    One round before the first is not counted.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in actions}
    for _ in range(rounds + 1):
        for name, action in actions.items():
            seconds[name].append(timed(action))
    return {name: taken[1:] for name, taken in seconds.items()}


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that an action takes, what it leaves to a GPU included."""
    _synchronise()
    start = time.perf_counter()
    action()
    _synchronise()
    return time.perf_counter() - start


def ratio(times: Mapping[str, list[float]], one: str, other: str) -> float:
    """Return the median over rounds of one action's time over another's in the same round."""
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def step_times(
    names: list[str], model: str, d: int, shapes: Sequence[tuple[int, int]], rounds: int
) -> Times:
    """Time steps of contenders side by side on batches of (size, tokens), one after the other."""
    found = cell_times([(name, d) for name in names], model, shapes, rounds)
    return {name: taken for (name, _), taken in found.items()}


def cell_times(
    cells: Sequence[Cell], model: str, shapes: Sequence[tuple[int, int]], rounds: int
) -> dict[Cell, list[float]]:
    """Time steps of contenders side by side, each with its own d."""
    made = {cell: contender(cell[0], model, cell[1]) for cell in cells}
    batches = [make_batch(MODELS[model](), *shape) for shape in shapes]

    def steps(one: Contender) -> None:
        for batch in batches:
            one.step(batch)

    return in_turn({cell: partial(steps, one) for cell, one in made.items()}, rounds)


def update_times(
    names: list[str], model: str, d: int, shape: tuple[int, int], rounds: int
) -> Times:
    """Time, inside of steps, what each contender does in place of AdamW's pass over D numbers."""
    made = {name: contender(name, model, d) for name in names}
    batch = make_batch(MODELS[model](), *shape)
    clocks = {name: _watch(one) for name, one in made.items()}
    times: Times = {name: [] for name in names}
    for _ in range(rounds + 1):
        for name, one in made.items():
            clocks[name].clear()
            one.step(batch)
            times[name].append(sum(clocks[name]))
    return {name: taken[1:] for name, taken in times.items()}


def projection_times(model: str, ds: list[int], rounds: int, name: str = "fastfood") -> Times:
    """Time passes over all D numbers: "copy", and "project" and "pull back" for each d.

    Gradients are dense, word embeddings too, and go together as in training; `project` writes
    weights in place.
    """
    sizes = {name: weight.numel() for name, weight in MODELS[model]().named_parameters()}
    grads = {name: torch.randn(size, device=DEVICE) for name, size in sizes.items()}
    weights = {name: torch.randn(size, device=DEVICE) for name, size in sizes.items()}
    groups = dict.fromkeys(sizes, 0)

    def pull_back(projection: Projection) -> None:
        sums = torch.zeros(1, projection.d, device=DEVICE, dtype=torch.float64)
        together: dict[str, Tensor] = {}
        for name, grad in grads.items():
            together[name] = grad
            if sum(part.numel() for part in together.values()) >= waiting(grad.device):
                projection.pull_back_all(together, groups, sums)
                together = {}
        if together:
            projection.pull_back_all(together, groups, sums)

    actions: dict[str, Callable[[], object]] = {
        "copy": lambda: torch._foreach_copy_(list(weights.values()), list(grads.values()))
    }
    for d in ds:
        projection, thetas = build(name, sizes, d, 0), torch.zeros(1, d, device=DEVICE)
        actions[f"project {d}"] = partial(projection.write_all, weights, weights, thetas, groups)
        actions[f"pull back {d}"] = partial(pull_back, projection)
    return in_turn(actions, rounds)


def peak_bytes(name: str, model: str, d: int, shape: tuple[int, int]) -> int:
    """Return a contender's peak memory in two steps, in bytes, measured in a process of its own.

    It is that of the GPU's allocator, or of resident memory.
    """
    code = (
        f"from said_lightning.tools.bench.measure import *; print(peak_here{name, model, d, shape})"
    )
    command, environment = [sys.executable, "-c", code], os.environ | EXACT
    gc.collect()  # models that were timed here hold their hooks, and those them: memory it may need
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def peak_here(name: str, model: str, d: int, shape: tuple[int, int]) -> int:
    """Return the peak memory of this process in a contender's second and third step.

    What a projection loads (a compiler) is there for each contender: it does not grow with D.
    """
    contender("said", "bert-tiny", d).step(make_batch(MODELS["bert-tiny"](), 2, 8))
    one, batch = contender(name, model, d), make_batch(MODELS[model](), *shape)
    one.step(batch)
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        RESET.write_text("5")
    for _ in range(2):
        one.step(batch)
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated()
    (peak,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024


def state_bytes(model: str, d: int) -> int:
    """Return the bytes that SAID without a copy keeps between steps, its optimizer's included."""
    one = contender("said, no copy", model, d)
    one.step(make_batch(one.model, 2, 8))
    assert one.space is not None
    seen = {id(weight) for weight in one.model.parameters()}
    parts = (one.space, one.space._writer, one.space.projection)
    waiting: list[Any] = [*map(vars, parts), one.optimizer.state]
    total = 0
    while waiting:
        item = waiting.pop()
        if isinstance(item, Tensor) and id(item) not in seen:
            seen.add(id(item))
            total += item.nbytes + (item.grad.nbytes if item.grad is not None else 0)
        elif isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
    return total


def _watch(one: Contender) -> list[float]:
    """Return a list that each call of the contender's update adds its seconds to."""
    clock: list[float] = []

    def watch(owner: object, method: str) -> None:
        call = getattr(owner, method)

        def watched(*arguments: Any) -> Any:
            results: list[Any] = []
            clock.append(timed(lambda: results.append(call(*arguments))))
            return results[0]

        setattr(owner, method, watched)

    # A subspace's optimizer writes the weights in its step.
    watch(one.optimizer, "step")
    if one.space is not None:
        watch(one.space._gradients, "_pull_back")
        watch(one.space._gradients, "_settle")
        watch(one.space.projection, "write_pieces")
    return clock


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
