"""What every projection promises: each is found by name and tried with each engine for the CPU."""

from collections.abc import Iterator

import numba
import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections import Projection, build, dot_test, engines_of, names
from said_lightning.projections.core import projection as core
from said_lightning.projections.core.engine import ENGINES

FAST = ENGINES["cpu"]
FAST_NAMES = [name for name in names() if FAST in engines_of(name)]
CASES = [(name, "torch") for name in names()] + [(name, FAST) for name in FAST_NAMES]
ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-12}
SIZES = {"weight": 5000, "bias": 37, "one": 1}

every_case = pytest.mark.parametrize(("name", "engine"), CASES)
every_name = pytest.mark.parametrize("name", names())
every_fast = pytest.mark.parametrize("name", FAST_NAMES)
every_dtype = pytest.mark.parametrize("dtype", ROUNDING, ids=str)


def draw(count: int) -> Iterator[tuple[dict[str, int], int, int]]:
    """Random (sizes, d, seed): one to three tensors of 1 to 3,000 rows, d from 1 to 1,000."""
    generator = np.random.default_rng(0)
    for seed in range(count):
        rows = np.exp(generator.uniform(0, np.log(3001), generator.integers(1, 4)))
        d = int(np.exp(generator.uniform(0, np.log(1001))))
        yield {f"tensor {index}": int(size) for index, size in enumerate(rows)}, d, seed


def normal(count: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Float[Tensor, " n"]:
    """Return standard normals, the same for every call with a seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, generator=generator, dtype=torch.float64).to(dtype)


def matrix(projection: Projection, tensor: str) -> Float[Tensor, "rows d"]:
    """Return a tensor's rows of P, in float64."""
    units = torch.eye(projection.d, dtype=torch.float64)
    return torch.stack([projection.project(unit, tensor) for unit in units], dim=1)


def assert_near(one: Tensor, other: Tensor, bound: float, expected: float = 0.0) -> None:
    """Assert that the difference's norm is at most `bound` times the second's, or its expected.

    A few numbers can cancel to almost nothing; what was added up to them is rounded all the same.
    """
    difference = (one.double() - other.double()).norm().item()
    assert difference <= bound * max(other.double().norm().item(), expected)


@every_dtype
@every_case
def test_project_and_pull_back_are_transposes(name: str, engine: str, dtype: torch.dtype) -> None:
    # float64 shows a wrong entry anywhere; float32 that nothing is summed in less.
    for sizes, d, seed in draw(200 if dtype == torch.float64 else 50):
        assert dot_test(build(name, sizes, d, seed, engine), dtype, seed) < ROUNDING[dtype]


@every_case
def test_project_is_linear(name: str, engine: str) -> None:
    projection = build(name, SIZES, 50, 0, engine)
    u, v = normal(50, seed=1), normal(50, seed=2)
    for tensor in SIZES:
        expected = 3 * projection.project(u, tensor) - 2 * projection.project(v, tensor)
        assert_near(projection.project(3 * u - 2 * v, tensor), expected, 1e-12)


@every_case
def test_write_adds_to_the_base_and_may_do_so_in_place(name: str, engine: str) -> None:
    projection, theta = build(name, SIZES, 50, 0, engine), normal(50, torch.float32)
    for tensor, size in SIZES.items():
        base, out = normal(size, torch.float32, 1), torch.empty(size)
        projection.write(out, base, theta, tensor)
        assert torch.equal(out, base + projection.project(theta, tensor))
        projection.write(base, base, theta, tensor)
        assert torch.equal(out, base)


@every_case
def test_a_tensors_rows_are_its_own(name: str, engine: str) -> None:
    alone = matrix(build(name, {"weight": 200}, 20, 0, engine), "weight")
    among = matrix(build(name, {"other": 77, "weight": 200, "more": 5}, 20, 0, engine), "weight")
    factors = (among * alone).sum(0) / alone.square().sum(0)  # one for all, or for each coordinate
    assert (factors > 0).all()
    assert_near(among, alone * factors, 1e-12)


@every_case
def test_another_name_or_place_in_the_tensor_is_another_draw(name: str, engine: str) -> None:
    projection = build(name, {"a": 4000, "b": 4000}, 20, 0, engine)
    a, b = matrix(projection, "a"), matrix(projection, "b")
    for one, other in ((a, b), (a[:2000], a[2000:])):
        assert abs((one * other).sum() / (one.norm() * other.norm())) < 0.1


@every_case
def test_the_seed_decides_and_zero_is_a_seed(name: str, engine: str) -> None:
    theta = normal(50)
    draws = [
        build(name, SIZES, 50, seed, engine).project(theta, "weight") for seed in (0, 0, 1, -1)
    ]
    assert torch.equal(draws[0], draws[1])
    for one, other in ((0, 2), (0, 3), (2, 3)):
        cosine = torch.cosine_similarity(draws[one], draws[other], dim=0)
        assert abs(cosine) < 0.1


@every_name
def test_the_fingerprint_changes_with_all_that_changes_p(name: str) -> None:
    base = {"a": 500, "b": 60}
    variants = [
        build(name, base, 20, 0),
        build(name, base, 20, 1),
        build(name, base, 21, 0),
        build(name, {"a": 501, "b": 60}, 20, 0),
        build(name, {"a": 500, "c": 60}, 20, 0),
        build(name, {"a": 500}, 20, 0),
    ]
    variants += [build(other, base, 20, 0) for other in names() if other != name]
    prints = [projection.fingerprint() for projection in variants]
    assert len(set(prints)) == len(prints)
    assert prints[0] == build(name, base, 20, 0, "torch").fingerprint()


@every_dtype
@every_fast
def test_the_engine_gives_what_the_reference_gives(name: str, dtype: torch.dtype) -> None:
    for sizes, d, seed in draw(20 if name == "dense" else 60):  # entries are costly in torch
        compare(name, sizes, d, seed, dtype)


# One number; blocks and their tails on both sides of each limit; a permutation of 32-bit numbers.
EDGES = [(1, 1), (1, 17), (2, 1), (15, 16), (17, 16), (1023, 1024), (1025, 40), (70_000, 64)]
LONG = [(3, 70_000), (140_000, 70_000)]


@every_dtype
@every_fast
@pytest.mark.parametrize(("size", "d"), EDGES)
def test_the_engine_is_right_at_the_edges(name: str, size: int, d: int, dtype: torch.dtype) -> None:
    compare(name, {"a": size}, d, 0, dtype)


@pytest.mark.parametrize(("size", "d"), LONG)
def test_the_engine_is_right_in_long_blocks(size: int, d: int) -> None:
    compare("fastfood", {"a": size}, d, 0, torch.float32)


def compare(name: str, sizes: dict[str, int], d: int, seed: int, dtype: torch.dtype) -> None:
    """Assert that engine and reference agree: to the bit where fastfood writes."""
    fast, reference = build(name, sizes, d, seed, FAST), build(name, sizes, d, seed, "torch")
    theta, bound = normal(d, dtype), ROUNDING[dtype]
    for tensor, size in sizes.items():
        delta, expected = fast.project(theta, tensor), reference.project(theta, tensor)
        length = float(theta.norm()) * (size / fast.D) ** 0.5
        assert_near(delta, expected, 0 if name == "fastfood" else bound, length)
        grad = normal(size, dtype, 1)
        v = fast.pull_back(grad, tensor)
        assert v.dtype == dtype
        length = float(grad.norm()) * (d / fast.D) ** 0.5
        assert_near(v, reference.pull_back(grad, tensor), bound, length)


@every_fast
def test_rows_without_a_gradient_add_nothing(name: str) -> None:
    grad = normal(5000, torch.float32)
    grad[100:4200] = 0
    expected = build(name, SIZES, 50, 0, "torch").pull_back(grad, "weight")
    assert_near(build(name, SIZES, 50, 0, FAST).pull_back(grad, "weight"), expected, 1e-6)


@every_fast
def test_the_number_of_threads_changes_no_bit(name: str) -> None:
    if numba.config.NUMBA_NUM_THREADS < 2:  # type: ignore[attr-defined]
        pytest.skip("numba has one thread here")
    projection, threads = build(name, {"a": 100_000}, 100, 0), torch.get_num_threads()
    theta, grad = normal(100, torch.float32), normal(100_000, torch.float32)
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append((projection.project(theta, "a"), projection.pull_back(grad, "a")))
    torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@every_fast
def test_using_an_engine_leaves_torchs_number_of_threads_alone(name: str) -> None:
    before = torch.get_num_threads()
    build(name, SIZES, 10, 0).pull_back(normal(5000, torch.float32), "weight")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@every_case
def test_short_floats_are_read_and_written(
    name: str, engine: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "STAGED", 2048)  # several stages for an engine
    projection, theta = build(name, SIZES, 50, 0, engine), normal(50, torch.float32)
    for tensor, size in SIZES.items():
        short = normal(size, dtype, 1)
        v = projection.pull_back(short, tensor)
        assert v.dtype == torch.float32
        assert_near(v, projection.pull_back(short.float(), tensor), 1e-6)
        delta = projection.project(theta, tensor)
        expected = (short.float() + delta).to(dtype)
        projection.write(short, short, theta, tensor)
        assert_near(short, expected, 2**-20)  # a tie may round the other way
        length = float(theta.norm()) * (size / projection.D) ** 0.5
        assert_near(projection.project(theta.to(dtype), tensor).float(), delta, 0.01, length)


@every_case
def test_the_widest_dtype_counts(name: str, engine: str) -> None:
    projection, theta = build(name, SIZES, 50, 0, engine), normal(50)
    out = torch.zeros(5000)
    projection.write(out, out, theta, "weight")
    assert torch.equal(out, projection.project(theta, "weight").float())
    wide = torch.zeros(5000, dtype=torch.float64)
    projection.write(wide, wide, theta.float(), "weight")
    assert torch.equal(wide, projection.project(theta.float().double(), "weight"))


@every_case
def test_gradients_and_weights_need_not_be_contiguous(name: str, engine: str) -> None:
    projection, theta = build(name, SIZES, 50, 0, engine), normal(50, torch.float32)
    pairs = normal(10_000, torch.float32, 1).view(5000, 2)
    whole = pairs[:, 0].contiguous()
    assert_near(
        projection.pull_back(pairs[:, 0], "weight"), projection.pull_back(whole, "weight"), 1e-6
    )
    kept = pairs[:, 1].clone()
    projection.write(pairs[:, 0], pairs[:, 0], theta, "weight")
    projection.write(whole, whole, theta, "weight")
    assert torch.equal(pairs[:, 0], whole)
    assert torch.equal(pairs[:, 1], kept)


@every_name
def test_the_reference_may_work_on_any_chunk_of_rows(name: str) -> None:
    whole, parts = build(name, SIZES, 50, 0, "torch"), build(name, SIZES, 50, 0, "torch")
    parts.chunk = parts.grain
    theta, grad = normal(50), normal(5000)
    assert_near(parts.project(theta, "weight"), whole.project(theta, "weight"), 1e-14)
    assert_near(parts.pull_back(grad, "weight"), whole.pull_back(grad, "weight"), 1e-12)


@every_case
def test_a_wrong_size_is_refused(name: str, engine: str) -> None:
    projection = build(name, SIZES, 50, 0, engine)
    with pytest.raises(ValueError, match="bias has 37 elements, got 36"):
        projection.pull_back(torch.zeros(36), "bias")
    with pytest.raises(ValueError, match="theta has 50 elements, got 51"):
        projection.project(torch.zeros(51), "bias")
    with pytest.raises(ValueError, match="bias has 37 elements, got 38"):
        projection.write(torch.zeros(38), torch.zeros(38), torch.zeros(50), "bias")


@every_name
@pytest.mark.parametrize(("sizes", "d"), [({"a": 5}, 0), ({"a": 0}, 1), ({}, 1)])
def test_sizes_are_positive(name: str, sizes: dict[str, int], d: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        build(name, sizes, d, 0)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no projection 'fastfod'; there are dense, fastfood"):
        build("fastfod", {"a": 5}, 1, 0)
    with pytest.raises(ValueError, match=r"no engine 'cuda' for dense; there are torch, numba"):
        build("dense", {"a": 5}, 1, 0, "cuda")
