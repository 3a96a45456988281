"""Partition, sparse and dense on a GPU are the reference's P, else in Triton's interpreter."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="triton is not installed")

import triton.language as tl

from said_lightning.projections import Projection, build, engines_of
from said_lightning.projections.core.projection import pull_back_rows, write_rows
from said_lightning.projections.engines import (
    dense_triton,
    partition_triton,
    sparse_triton,
    triton_scatter,
)
from said_lightning.projections.partition import Partition
from said_lightning.tools.bench.sass import Cost, cost, fastfood_cost

# Triton reads this when it is imported, and then for good.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
GPU = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
    ],
)
NAMES = ["partition", "sparse", "dense"]
SCATTERED = {"partition": partition_triton, "sparse": sparse_triton}
SIZES = [(1, 40), (10, 1500), (100, 300), (1000, 4200)]
# d and rows; the interpreter is slow where every entry is drawn.
CASES = [(name, *size) for name in NAMES for size in SIZES if name != "dense" or size[0] < 1000]
CASES.append(("dense", 1000, 200))
ROUNDING = {torch.float32: 5e-7, torch.float64: 2e-15}

every_name = pytest.mark.parametrize("name", NAMES)
every_scattered = pytest.mark.parametrize("name", SCATTERED)
every_case = pytest.mark.parametrize(("name", "d", "rows"), CASES)
every_dtype = pytest.mark.parametrize("dtype", ROUNDING, ids=str)
compiled = pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")


@pytest.fixture(params=["cpu" if INTERPRETED else GPU])
def device(request: pytest.FixtureRequest) -> str:
    """Where the kernels run."""
    return str(request.param)


@compiled
def test_the_kernels_pass_in_the_interpreter() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    # Annotations are checked as conftest.py has it, without what it imports for runs.
    options = ["--noconftest", "--jaxtyping-packages=said_lightning,beartype.beartype"]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *options]
    process = subprocess.run([*command, __file__], env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout


@every_name
def test_triton_is_listed_as_an_engine(name: str) -> None:
    assert "triton" in engines_of(name)


@every_dtype
@every_case
def test_weights_are_the_reference_s(
    name: str, d: int, rows: int, dtype: torch.dtype, device: str
) -> None:
    ours, reference = pair(name, d, rows)
    theta, base = normal(d, dtype), normal(rows, dtype)
    out, expected = base.to(device, copy=True), base.clone()
    ours.write(out, out, theta.to(device), "a")
    reference.write(expected, expected, theta, "a")
    if name == "partition":
        assert torch.equal(out.cpu(), expected)
    assert distance(out.cpu(), expected) < ROUNDING[dtype]


@every_dtype
@every_case
def test_gradients_are_the_reference_s_to_rounding_and_the_same_in_every_call(
    name: str, d: int, rows: int, dtype: torch.dtype, device: str
) -> None:
    ours, reference = pair(name, d, rows)
    grad = normal(rows, dtype)
    v = ours.pull_back(grad.to(device), "a")
    assert v.dtype == dtype
    assert distance(v, reference.pull_back(grad.double(), "a")) < ROUNDING[dtype]
    assert torch.equal(v, ours.pull_back(grad.to(device), "a"))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@every_scattered
def test_half_precision_is_read_and_written_directly(
    name: str, half: torch.dtype, device: str
) -> None:
    engine = SCATTERED[name]
    ours, reference = pair(name, 100, 300)
    theta, base = normal(100), normal(300).to(half)
    out, near = base.to(device, copy=True), base.to(device)
    write_rows(engine, ours, out, out, theta.to(device), "a", 0)
    expected = base + reference.project(theta, "a")
    # The interpreter cuts bfloat16 off: one unit in the last place.
    torch.testing.assert_close(out.cpu().float(), expected, rtol=torch.finfo(half).eps, atol=1e-6)
    v = pull_back_rows(engine, ours, near, "a", 0)
    assert distance(v, reference.pull_back(base.double(), "a")) < 5e-7


@every_name
def test_many_tensors_are_served_together_each_with_its_group(name: str, device: str) -> None:
    sizes = {"a": 3000, "b": 7, "c": 1024, "d": 1, "e": 700, "f": 2100}
    ours, reference = (build(name, sizes, 30, 3, engine) for engine in ("triton", "torch"))
    thetas = torch.stack([normal(30), -2 * normal(30), normal(30).flip(0)])
    # A view that begins anywhere lies at no multiple of 16 bytes.
    bases = {tensor: normal(size + 1)[1:] for tensor, size in sizes.items()}
    bases["e"] = bases["e"].bfloat16()
    there = {tensor: base.to(device, copy=True) for tensor, base in bases.items()}
    outs = {tensor: torch.zeros(size, device=device) for tensor, size in sizes.items()}
    expected = {tensor: torch.zeros(size) for tensor, size in sizes.items()}
    groups = {tensor: index % 3 for index, tensor in enumerate(sizes)}
    ours.write_all(outs, there, thetas.to(device), groups)
    reference.write_all(expected, bases, thetas, groups)
    for tensor in sizes:
        assert distance(outs[tensor], expected[tensor]) < 5e-7, tensor
        assert torch.equal(there[tensor].cpu(), bases[tensor]), tensor
    sums = torch.ones(4, 30, dtype=torch.float64)
    exact, ours_sums = sums.clone(), sums.to(device)
    ours.pull_back_all(there, groups, ours_sums)
    reference.pull_back_all({n: base.double() for n, base in bases.items()}, groups, exact)
    for group in range(3):
        assert distance(ours_sums[group] - 1, exact[group] - 1) < 5e-7
    assert torch.equal(ours_sums[3].cpu(), sums[3])


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
@every_name
def test_a_number_that_is_not_finite_is_seen_in_its_group_alone(
    name: str, wrong: float, device: str
) -> None:
    sizes = {"a": 300, "b": 200}
    projection = build(name, sizes, 10, 3, "triton")
    grads = {tensor: normal(size).to(device) for tensor, size in sizes.items()}
    grads["a"][17] = wrong
    sums = torch.zeros(2, 10, dtype=torch.float64, device=device)
    projection.pull_back_all(grads, {"a": 0, "b": 1}, sums)
    assert not sums[0].isfinite().all()
    if name in SCATTERED:
        assert sums[0].isnan().all()
    assert torch.equal(sums[1].float(), projection.pull_back(grads["b"], "b"))


@every_name
def test_rows_from_anywhere_are_the_reference_s(name: str, device: str) -> None:
    engine = SCATTERED.get(name, dense_triton)
    ours, reference = pair(name, 100, 300)
    start, theta, grad, out = 2**35, normal(100), normal(300), torch.zeros(300, device=device)
    write_rows(engine, ours, out, out, theta.to(device), "a", start)
    assert distance(out, reference.forward_rows(theta, "a", start, start + 300)) < 5e-7
    v = pull_back_rows(engine, ours, grad.to(device), "a", start)
    assert distance(v, reference.backward_rows(grad.double(), "a", start)) < 5e-7


@every_name
def test_rows_that_a_batch_left_untouched_add_nothing(name: str, device: str) -> None:
    ours, reference = pair(name, 100, rows := 3 * triton_scatter.TILE)
    grad = torch.zeros(rows)
    assert not ours.pull_back(grad.to(device), "a").any()
    grad[rows // 2 : rows // 2 + 5] = normal(5)
    v = ours.pull_back(grad.to(device), "a")
    assert distance(v, reference.pull_back(grad.double(), "a")) < 5e-7


@pytest.mark.parametrize("power", [-90, -60, 60, 110])
@every_scattered
def test_gradients_of_any_size_are_summed_alike(name: str, power: int, device: str) -> None:
    # The unit of integers must follow the largest number; others are down to a millionth of it.
    grad = normal(1500) * torch.logspace(-6, 0, 1500)
    ours, reference = pair(name, 10, 1500)
    v = ours.pull_back((grad * 2.0**power).to(device), "a").double() * 2.0**-power
    assert distance(v, reference.pull_back(grad.double(), "a")) < 5e-7


@every_scattered
def test_bits_do_not_depend_on_how_additions_are_spread(
    name: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = pair(name, 10, 10_000)
    grad = normal(10_000).to(device)
    several = ours.pull_back(grad, "a")
    monkeypatch.setattr(triton_scatter, "COPIES", 1)
    assert torch.equal(several, ours.pull_back(grad, "a"))


def test_the_largest_sum_there_can_be_does_not_overflow(device: str) -> None:
    P = build("partition", {"a": 10_000}, 1, 3, "triton")
    assert isinstance(P, Partition)
    rows = P.project(torch.ones(1, dtype=torch.float64, device=device), "a")
    for size in (1.0, 1 - 2.0**-24, 1.99 * 2.0**127):
        expected = 100 * float(torch.tensor(size))  # 10,000 rows of 1/100
        v = pull_back_rows(partition_triton, P, rows.sign().float() * size, "a", 0)
        assert float(v) == pytest.approx(expected, rel=1e-7)


def test_dense_is_the_same_in_chunks_of_any_length(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = pair("dense", 30, 1000)
    theta, grad = normal(30, torch.float64).to(device), normal(1000, torch.float64).to(device)
    delta, v = ours.project(theta, "a"), ours.pull_back(grad, "a")
    monkeypatch.setattr(dense_triton, "CHUNK", 2000)  # 64 rows
    assert distance(ours.project(theta, "a"), delta.cpu()) < ROUNDING[torch.float64]
    assert distance(ours.pull_back(grad, "a"), v.cpu()) < ROUNDING[torch.float64]


TABLES = {"table": "*i64", "owners": "*i32", "addresses": "*i64", "scales": "*fp64"}
TABLES |= {"peaks": "*i64", "exact": "*i64", "bounds": "*i64", "thresholds": "*i64"}
TABLES |= {"sums": "*fp64", "factors": "*fp64", "x": "*fp32", "thetas": "*fp32"}
TABLES |= dict.fromkeys(("headroom", "copies", "numel", "d"), "i32")


def counted(kernel: Any, views: str, warps: int, element: Any) -> tuple[Cost, float]:
    """Return what a kernel costs whose views are of a dtype, and its instructions a row."""
    constants = dict.fromkeys(views.split(), element) | {"TILE": triton_scatter.TILE}
    wide = tl.float64 if element == tl.float64 else tl.float32
    constants |= {"WIDE": wide, "ALIGNED": True, "COLUMNS": triton_scatter.COLUMNS}
    constants = {name: constants[name] for name in constants if name in kernel.arg_names}
    types = {name: kind for name, kind in TABLES.items() if name in kernel.arg_names}
    found = cost(kernel, constants, types, warps)
    return found, found.instructions * warps * 32 / triton_scatter.TILE


@compiled
@pytest.mark.parametrize("element", [tl.float32, tl.bfloat16], ids=str)
def test_partition_is_the_cheapest_projection(element: Any) -> None:
    warps = triton_scatter.WARPS
    write, written = counted(partition_triton._write, "OUT BASE", warps, element)
    peak, sought = counted(triton_scatter.find_peak, "GRAD", warps, element)
    pull_back, pulled = counted(partition_triton._pull_back, "GRAD", warps, element)
    # What was reached, and 5 % for other versions of the compiler.
    assert written <= 27
    assert sought <= 10
    assert pulled <= 50
    assert written < 0.6 * fastfood_cost("write", 1024)[1]
    assert sought + pulled < 0.8 * fastfood_cost("pull_back", 1024)[1]
    for found in (write, peak, pull_back):
        assert found.spilled == 0
        assert found.wide["LDG"] >= (4 if element == tl.float32 else 2)
    assert write.narrow["STG"] == 0
    assert pull_back.narrow["LDG"] < 16  # no lookups: slots and signs are computed


@compiled
@pytest.mark.parametrize("element", [tl.float32, tl.float64], ids=str)
def test_kernels_compile_for_any_dtype_and_spill_no_registers(element: Any) -> None:
    warps = sparse_triton.WARPS["num_warps"]
    for found, _ in (
        counted(sparse_triton._write, "OUT BASE", warps, element),
        counted(sparse_triton._pull_back, "GRAD", warps, element),
        counted(partition_triton._write, "OUT BASE", triton_scatter.WARPS, element),
        counted(partition_triton._pull_back, "GRAD", triton_scatter.WARPS, element),
        counted(triton_scatter.find_peak, "GRAD", triton_scatter.WARPS, element),
        counted(triton_scatter._add_up, "", 4, element),
    ):
        assert found.spilled == 0
        assert found.narrow["STG"] == 0


@compiled
def test_dense_draws_entries_at_a_few_instructions_each() -> None:
    types = {"entries": "*fp32", "table": "*fp32", "counter": "i64"}
    types |= dict.fromkeys(("count", "k0", "k1"), "i32")
    draw = cost(dense_triton._draw, {"TILE": dense_triton.TILE}, types, 4)
    assert draw.instructions * 4 * 32 / dense_triton.TILE <= 17
    assert draw.spilled == 0
    assert draw.narrow["STG"] == 0


def pair(name: str, d: int, rows: int) -> tuple[Projection, Projection]:
    """Triton's P and the reference, of one tensor beside another."""
    sizes = {"a": rows, "b": 7}
    ours, reference = (build(name, sizes, d, 3, engine) for engine in ("triton", "torch"))
    return ours, reference


def normal(count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random numbers, the same for each count."""
    return torch.randn(count, generator=torch.Generator().manual_seed(count), dtype=dtype)


def distance(v: Tensor, expected: Tensor) -> float:
    """How far a vector is off, as a part of its length."""
    return float((v.cpu().double() - expected).norm() / expected.norm())
