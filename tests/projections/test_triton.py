"""The Triton engine gives the reference's P: on a GPU, else in Triton's interpreter."""

import os
import subprocess
import sys
from typing import no_type_check

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="triton is not installed")

import triton
import triton.language as tl

from said_lightning.projections import build
from said_lightning.projections.core.projection import pull_back_rows, write_rows
from said_lightning.projections.engines import fastfood_triton, triton_long
from said_lightning.projections.engines.triton_random import half_words, permuted, permuted_back
from said_lightning.projections.fastfood import Fastfood

# Triton reads this when it is imported, and then for good.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
GPU = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
    ],
)

# d and rows: whole blocks and cut ones, several programs, and blocks too long for one.
SIZES = [
    (10, 1500),
    (32, 1100),
    (100, 300),
    (1000, 2100),
    (4096, 4200),
    (20_000, 33_000),
    (20_000, 5),
]


@pytest.fixture(params=["cpu" if INTERPRETED else GPU])
def device(request: pytest.FixtureRequest) -> str:
    """Where the kernels run."""
    return str(request.param)


@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
def test_the_kernels_pass_in_the_interpreter() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    # Annotations are checked as conftest.py has it, without what it imports for runs.
    options = ["--noconftest", "--jaxtyping-packages=said_lightning,beartype.beartype"]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *options]
    process = subprocess.run([*command, __file__], env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout


@triton.jit
@no_type_check
def draw(halves, order, back, banks, inverse_banks, start, k0, k1, BITS: tl.constexpr):
    places = tl.arange(0, 1 << BITS)
    tl.store(halves + places, half_words(k0, k1, start // 8 + tl.arange(0, (1 << BITS) // 8)))
    block = tl.full((1, 1), 0, tl.int64) + (start >> BITS)
    places = places[None, :]
    tl.store(order + places, permuted(banks, k0, k1, block, places, BITS))
    tl.store(back + places, permuted_back(inverse_banks, k0, k1, block, places, BITS))


# Orders below and above the bank's, in the first blocks and where a block's number needs 64 bits.
DRAWS = [(bits, block) for bits in (4, 5, 10, 13, 16) for block in (0, 3, 2**40 + 1)]


@pytest.mark.parametrize(("bits", "block"), DRAWS)
def test_draws_are_the_reference_s_word_for_word(bits: int, block: int, device: str) -> None:
    n = 1 << bits
    P = build("fastfood", {"a": n}, n, 7, "torch")
    assert isinstance(P, Fastfood)
    halves, order, back = (torch.empty(n, dtype=torch.int32, device=device) for _ in range(3))
    words = [(word ^ 2**31) - 2**31 for word in P.keys["a"]]
    banks = [bank[P.begin(n) :].to(device) for bank in (P.banks, P.inverse_banks)]
    draw[(1,)](halves, order, back, *banks, block * n, *words, BITS=bits)
    expected, permutation = P._draw("a", block * n, 1, n, torch.device("cpu"))
    assert torch.equal(halves.long().cpu(), expected[0])
    assert torch.equal(order.long().cpu(), permutation[0])
    assert torch.equal(back.long().cpu()[permutation[0]], torch.arange(n))


@pytest.mark.parametrize(("d", "rows"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_have_the_reference_s_bits(
    d: int, rows: int, dtype: torch.dtype, device: str
) -> None:
    ours, reference = pair(d, rows)
    theta, base = normal(d, dtype), normal(rows, dtype)
    out, expected = base.to(device, copy=True), base.clone()
    ours.write(out, out, theta.to(device), "a")
    reference.write(expected, expected, theta, "a")
    assert torch.equal(out.cpu(), expected)


@pytest.mark.parametrize(("d", "rows"), SIZES)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 5e-7), (torch.float64, 1e-15)])
def test_gradients_differ_from_the_reference_s_by_rounding(
    d: int, rows: int, dtype: torch.dtype, error: float, device: str
) -> None:
    ours, reference = pair(d, rows)
    grad = normal(rows, dtype)
    v = ours.pull_back(grad.to(device), "a")
    assert v.dtype == dtype
    assert distance(v, reference.pull_back(grad.double(), "a")) < error


@pytest.mark.parametrize("d", [100, 20_000])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_and_written_directly(
    d: int, half: torch.dtype, device: str
) -> None:
    ours, reference = pair(d, 300)
    theta, base = normal(d), normal(300).to(half)
    expected = rounded(base + reference.project(theta, "a"), half)
    out, near = base.to(device, copy=True), base.to(device)
    write_rows(fastfood_triton, ours, out, out, theta.to(device), "a", 0)
    assert torch.equal(out.cpu(), expected)
    v = pull_back_rows(fastfood_triton, ours, near, "a", 0)
    assert distance(v, reference.pull_back(base.double(), "a")) < 5e-7


def test_base_is_left_alone_and_may_be_of_another_dtype(device: str) -> None:
    ours, reference = pair(100, 300)
    theta, base = normal(100), normal(300).bfloat16()
    out, origin = torch.zeros(300, device=device), base.to(device, copy=True)
    write_rows(fastfood_triton, ours, out, origin, theta.to(device), "a", 0)
    assert torch.equal(out.cpu(), base + reference.project(theta, "a"))
    assert torch.equal(origin.cpu(), base)


@pytest.mark.parametrize(("d", "start"), [(100, 2**35), (20_000, 2**35)])
def test_rows_from_anywhere_are_the_reference_s(d: int, start: int, device: str) -> None:
    ours, reference = pair(d, 300)
    theta, grad, out = normal(d), normal(300), torch.zeros(300, device=device)
    write_rows(fastfood_triton, ours, out, out, theta.to(device), "a", start)
    assert torch.equal(out.cpu(), reference.forward_rows(theta, "a", start, start + 300))
    v = pull_back_rows(fastfood_triton, ours, grad.to(device), "a", start)
    assert distance(v, reference.backward_rows(grad.double(), "a", start)) < 5e-7


@pytest.mark.parametrize(("d", "rows"), [(1000, 4 * 1024), (20_000, 2 * 32_768)])
def test_untouched_blocks_are_left_out_and_a_nan_is_not(d: int, rows: int, device: str) -> None:
    ours, reference = pair(d, rows)
    grad = torch.zeros(rows)
    assert not ours.pull_back(grad.to(device), "a").any()
    grad[rows // 2 : rows // 2 + 5] = normal(5)
    v = ours.pull_back(grad.to(device), "a")
    assert distance(v, reference.pull_back(grad.double(), "a")) < 5e-7
    grad[0] = torch.nan
    assert ours.pull_back(grad.to(device), "a").isnan().any()


@pytest.mark.parametrize("d", [16, 1000])
def test_few_programs_take_many_tiles(d: int, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastfood_triton, "WARPS", 4)
    fastfood_triton._launches.cache_clear()
    ours, reference = pair(d, 5000)
    grad = normal(5000)
    v = ours.pull_back(grad.to(device), "a")
    assert distance(v, reference.pull_back(grad.double(), "a")) < 5e-7
    assert torch.equal(v, ours.pull_back(grad.to(device), "a"))


def test_a_long_tensor_takes_several_calls(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_long, "BUFFER", 1)
    ours, reference = pair(20_000, 2 * 32_768)
    theta, grad = normal(20_000), normal(2 * 32_768)
    assert torch.equal(ours.project(theta.to(device), "a").cpu(), reference.project(theta, "a"))
    v = ours.pull_back(grad.to(device), "a")
    assert distance(v, reference.pull_back(grad.double(), "a")) < 5e-7


@pytest.mark.parametrize("d", [10, 1000, 20_000])
def test_many_tensors_of_any_size_and_dtype_are_served_together(d: int, device: str) -> None:
    # Whole blocks and tails of many orders; where blocks are short a tenth of the rows has as many
    # kinds of them, and the interpreter is slow.
    longest = (17_000, 33_000) if d == 20_000 or not INTERPRETED else (1700, 4000)
    sizes = {"a": 3000, "b": 7, "c": 1024, "d": 1, "e": 700, "f": longest[0], "g": longest[1]}
    ours, reference = (build("fastfood", sizes, d, 3, engine) for engine in ("triton", "torch"))
    theta = normal(d)
    # A view that begins anywhere lies at no multiple of 16 bytes.
    bases = {name: normal(size + 1)[1:] for name, size in sizes.items()}
    bases["e"] = bases["e"].bfloat16()
    outs = {name: torch.zeros(size, device=device) for name, size in sizes.items()}
    expected = {name: torch.zeros(size) for name, size in sizes.items()}
    there = {name: base.to(device, copy=True) for name, base in bases.items()}
    groups = {name: index % 3 for index, name in enumerate(sizes)}
    thetas = torch.stack([theta, -2 * theta, theta.flip(0)])
    ours.write_all(outs, there, thetas.to(device), groups)
    reference.write_all(expected, bases, thetas, groups)
    for name in sizes:
        assert torch.equal(outs[name].cpu(), expected[name]), name
    sums = torch.ones(3, d, dtype=torch.float64)
    exact, ours_sums = sums.clone(), sums.to(device)
    ours.pull_back_all(there, groups, ours_sums)
    reference.pull_back_all({n: base.double() for n, base in bases.items()}, groups, exact)
    for group in range(3):
        assert distance(ours_sums[group] - 1, exact[group] - 1) < 5e-7


@pytest.mark.parametrize(("d", "rows"), SIZES)
def test_pull_back_is_the_transpose(d: int, rows: int, device: str) -> None:
    ours, _ = pair(d, rows)
    u, v = normal(d, torch.float64).to(device), normal(rows, torch.float64).to(device)
    delta, back = ours.project(u, "a"), ours.pull_back(v, "a")
    size = float(delta.norm() * v.norm())
    assert abs(float(delta @ v) - float(u @ back)) < 1e-15 * size


@pytest.mark.skipif(INTERPRETED, reason="the interpreter would take hours")
def test_offsets_beyond_31_bits_are_reached(device: str) -> None:
    ours, reference = pair(1000, rows := 2**31 + 2048)
    theta = normal(1000)
    out = torch.zeros(rows, dtype=torch.bfloat16, device=device)
    write_rows(fastfood_triton, ours, out, out, theta.to(device), "a", 0)
    expected = reference.forward_rows(theta, "a", 2**31, rows)
    assert torch.equal(out[2**31 :].cpu(), expected.bfloat16())


def pair(d: int, rows: int) -> tuple[Fastfood, Fastfood]:
    """Triton's P and the reference, of one tensor beside another."""
    sizes = {"a": rows, "b": 7}
    ours, reference = (build("fastfood", sizes, d, 3, engine) for engine in ("triton", "torch"))
    assert isinstance(ours, Fastfood)
    assert isinstance(reference, Fastfood)
    return ours, reference


def normal(count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random numbers, the same for each count."""
    return torch.randn(count, generator=torch.Generator().manual_seed(count), dtype=dtype)


def rounded(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Round float32 as the kernels do: the interpreter cuts bfloat16 off, a GPU rounds to even."""
    if INTERPRETED and dtype == torch.bfloat16:
        x = (x.view(torch.int32) & -(2**16)).view(torch.float32)
    return x.to(dtype)


def distance(v: Tensor, expected: Tensor) -> float:
    """How far a vector is off, as a part of its length."""
    return float((v.cpu().double() - expected).norm() / expected.norm())
