"""Fastfood's P has the statistics of an i.i.d. Gaussian matrix, in spite of all that blocks share.

Correlations are held against those of normals of the same shape, drawn beside them: the root mean
square and the maximum over all pairs, each as a ratio, averaged over seeds.
"""

from collections.abc import Iterator

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from said_lightning.projections import Projection, build
from said_lightning.projections.fastfood import hadamard, order

DIMENSIONS = (16, 17, 100, 1000, 1023, 1024, 1025)

every_d = pytest.mark.parametrize("d", DIMENSIONS)
every_kind = pytest.mark.parametrize("kind", ["one", "two", "dense"])


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Return independent standard normals, the same for every call with a seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def vector(kind: str, d: int) -> Float[Tensor, " d"]:
    """Return a theta of length 1: one or two of its coordinates, or none, are not 0."""
    theta = normal(d)
    if kind != "dense":
        theta = torch.zeros(d)
        theta[[3] if kind == "one" else [3, d // 2 + 3]] = 1
    return theta / theta.norm()


def everywhere(projection: Projection, theta: Float[Tensor, " d"]) -> dict[str, Tensor]:
    """Return sqrt(D) P theta, tensor by tensor: entries of variance |theta|^2."""
    moved = {tensor: theta.new_zeros(rows) for tensor, rows in projection.sizes.items()}
    projection.write_all(moved, moved, theta[None], dict.fromkeys(moved, 0))
    return {tensor: delta * projection.D**0.5 for tensor, delta in moved.items()}


def whole(kind: str, d: int, blocks: int, seed: int) -> Float[Tensor, "blocks n"]:
    """Return sqrt(D) P theta of a tensor that is made of whole blocks."""
    projection = build("fastfood", {"w": blocks * order(d)}, d, seed)
    return everywhere(projection, vector(kind, d))["w"].view(blocks, order(d))


def columns(sizes: dict[str, int], d: int, seed: int, some: int) -> Float[Tensor, "columns D"]:
    """Return the first columns of P, as rows."""
    projection, units = build("fastfood", sizes, d, seed), torch.eye(d, dtype=torch.float64)
    return torch.stack(
        [torch.cat([*everywhere(projection, unit).values()]) for unit in units[:some]]
    )


def cosines(x: Float[Tensor, "vectors length"]) -> Float[Tensor, " pairs"]:
    """Return the magnitudes of the cosines of all pairs."""
    unit = x / x.norm(dim=1, keepdim=True)
    one, other = torch.triu_indices(len(x), len(x), 1)
    return (unit @ unit.T)[one, other].abs()


def assert_alike(pairs: Iterator[tuple[Tensor, Tensor]], rms: float, most: float) -> None:
    """Assert that cosines are up to these factors those of the yardstick beside them."""
    ratios = []
    for x, yardstick in pairs:
        ours, theirs = cosines(x), cosines(yardstick)
        squares = ours.square().mean() / theirs.square().mean()
        ratios.append(torch.stack((squares.sqrt(), ours.max() / theirs.max())))
    mean = torch.stack(ratios).mean(0)
    assert mean[0] < rms
    assert mean[1] < most


@every_kind
@every_d
def test_entries_have_kurtosis_3(d: int, kind: str) -> None:
    y = whole(kind, d, 2**20 // order(d), 0).double()
    # Of a million normals, the fourth moment has a standard error of sqrt(96 / 2^20) = 0.01.
    assert y.pow(4).mean() / y.square().mean() ** 2 == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("d", [10, 17, 100])
def test_every_tensor_has_full_rank(d: int) -> None:
    n = order(d)
    orders = [1 << bits for bits in range(4, n.bit_length())]
    rows = [1, 2, 15, 16, 17, 37, 3 * n, *orders, *(n + r - 3 for r in orders)]
    P = columns({f"w{i}": count for i, count in enumerate(rows)}, d, 0, d)
    for part, count in zip(P.split(rows, dim=1), rows, strict=True):
        assert torch.linalg.matrix_rank(part) == min(count, d)
    ones = columns({f"bias {i}": 1 for i in range(d)}, d, 0, d)
    assert torch.linalg.matrix_rank(ones) == d


@pytest.mark.parametrize("d", [16, 17, 100, 1023, 1024, 1025])
def test_columns_are_nearly_orthogonal(d: int) -> None:
    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for seed in range(20 if d < 1000 else 3):
            found = columns({"w": 8 * order(d), "tail": order(d) // 2 - 5}, d, seed, 64)
            yield found, normal(*found.shape, seed=seed)

    # Any Fastfood is at sqrt(2) = 1.41: the cosine of two columns of a block is a mean of n squares
    # g^2 with signs, of variance 2/n.
    assert_alike(pairs(), rms=1.5, most=1.5)


@every_kind
@pytest.mark.parametrize("d", [16, 17, 100, 1000, 1024, 1025])
def test_blocks_are_uncorrelated(d: int, kind: str) -> None:
    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for seed in range(2):
            y = whole(kind, d, 500, seed)
            yield y, normal(*y.shape, seed=seed)

    # G shared by blocks would give sqrt(3), the root of g's kurtosis.
    assert_alike(pairs(), rms=1.05, most=1.5)


@every_kind
@pytest.mark.parametrize("rows", [17, 1000, 3000])
def test_tensors_seeds_and_d_are_uncorrelated(rows: int, kind: str) -> None:
    sizes = {f"w{i}": rows for i in range(20)}
    found = [build("fastfood", sizes, 1000, seed) for seed in range(8)]
    found += [build("fastfood", {"w0": rows}, d, 0) for d in range(900, 1000)]
    moved = [everywhere(one, vector(kind, one.d)).values() for one in found]
    # A folded tail turns theta to 0 where the signs of its two coordinates differ.
    y = torch.stack([delta for every in moved for delta in every if delta.any()])
    assert_alike(iter([(y, normal(*y.shape))]), rms=1.05, most=1.5)


@pytest.mark.parametrize("kind", ["one", "two"])
@pytest.mark.parametrize(("d", "blocks"), [(256, 1024), (1024, 1024), (4096, 512)])
def test_spectra_are_as_if_each_block_had_a_permutation_of_its_own(
    d: int, blocks: int, kind: str
) -> None:
    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for seed in range(4):
            # H y is n G Pi H B theta: shuffling each block's numbers undoes what its Pi shares.
            spectra = hadamard(whole(kind, d, blocks, seed)).square()
            spectra -= spectra.mean(1, keepdim=True)
            places = torch.rand(spectra.shape, generator=torch.Generator().manual_seed(seed))
            yield spectra, spectra.gather(1, places.argsort(1))

    # Of 20 seeds, ratios have means of at most 1.007 and 1.15 and deviations of 0.017 and 0.27, so
    # that the bounds are five and three errors of a mean of four away.
    assert_alike(pairs(), rms=1.05, most=1.6)


@pytest.mark.parametrize("d", [16, 64, 256])
def test_signs_are_another_draw_in_each_block(d: int) -> None:
    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for seed in range(3):
            blocks = columns({"w": 200 * d}, d, seed, d).view(d, 200, d)
            # The product of columns j and k is b_j b_k times what depends on j xor k alone.
            products = (blocks[::2] * blocks[1::2]).sum(2).T
            yield products, normal(*products.shape, seed=seed)

    assert_alike(pairs(), rms=1.05, most=1.5)


@every_kind
@pytest.mark.parametrize("r", [16, 32, 64, 128, 256, 512, 1024])
def test_tails_keep_lengths_in_expectation(r: int, kind: str) -> None:
    # Of the two coordinates, 3 and 515, a folded tail adds or subtracts one from the other.
    projection = build("fastfood", {f"w{i}": r for i in range(500)}, 1024, 0)
    moved = everywhere(projection, vector(kind, 1024)).values()
    squares = torch.stack([delta.square().mean() for delta in moved])
    assert abs(squares.mean() - 1) < 5 * squares.std() / len(squares) ** 0.5


def test_lengths_scatter_alike_beside_a_power_of_two() -> None:
    scatter = []
    for d in (1023, 1024, 1025):
        projection = build("fastfood", {f"w{i}": 2148 for i in range(1500)}, d, 0)
        moved = everywhere(projection, vector("dense", d)).values()
        squares = torch.stack([delta.square().mean() for delta in moved])
        scatter.append((squares.var() * 2148).item())
    # Six is Fastfood's own. A variance of 1,500 draws has a standard error of 4 %.
    assert scatter == pytest.approx([6, 6, 6], rel=0.16)
