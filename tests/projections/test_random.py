"""The randomness is the published Philox, real normals and permutations that look uniform."""

import hashlib

import numpy as np
import pytest
import torch
from scipy import stats

from said_lightning.projections.core import random

# Known answers of Philox 4x32 in Random123's kat_vectors (Salmon et al. 2011): rounds, answer.
ZEROS, ONES = ((0, 0, 0, 0), (0, 0)), ((2**32 - 1,) * 4, (2**32 - 1,) * 2)
PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
KNOWN = [
    (ZEROS, 7, (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
    (ONES, 7, (0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662)),
    (PI, 7, (0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A)),
    (ZEROS, 10, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (ONES, 10, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (PI, 10, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


@pytest.mark.parametrize(("given", "rounds", "answer"), KNOWN)
def test_philox_gives_the_published_answers(
    given: tuple[tuple[int, ...], tuple[int, int]], rounds: int, answer: tuple[int, ...]
) -> None:
    counter, key = given
    drawn = random.philox(key, torch.tensor(counter)[:, None], rounds)
    assert tuple(drawn[:, 0].tolist()) == answer


def test_draws_are_those_of_seven_rounds() -> None:
    position = torch.tensor([5, 2**33 + 7])
    counter = torch.tensor([[5, 7], [0, 2], [1, 1], [0, 0]])
    assert torch.equal(random.words((3, 4), position, 1), random.philox((3, 4), counter, 7).T)


def test_the_quantiles_are_those_of_a_normal_with_variance_1() -> None:
    table = random.quantile_table()
    digest = hashlib.sha256(table.astype("<f4").tobytes()).hexdigest()
    assert digest == "fcabc0d5e53984f1e2f8c845aa4325dce15ad578e9c04cb056fe13fc956bd84f"
    assert np.mean(table.astype(float) ** 2) == pytest.approx(1, abs=1e-6)
    both = np.concatenate((-table, table))
    assert stats.kstest(both, "norm").statistic < 2e-3


def draw(count: int, n: int, tensor: str = "t") -> np.ndarray:
    """Draw permutations of 0..n-1 by a tensor's key, count x n."""
    return random.permutations(random.key(0, tensor, "test"), count, n).numpy()


@pytest.mark.parametrize(("count", "bits"), [(512, 4), (7, 5), (8, 10), (1, 13), (1, 20)])
def test_a_permutation_has_every_number_once(count: int, bits: int) -> None:
    order = draw(count, 2**bits)
    assert order.shape == (count, 2**bits)
    assert (np.sort(order) == np.arange(2**bits)).all()


def test_another_row_or_key_is_another_permutation() -> None:
    order = np.concatenate([draw(100, 1024), draw(100, 1024, "u")])
    same = (order[:, None] == order[None]).sum(-1)[np.triu_indices(200, 1)]
    # Of two independent ones a Poisson number of places, of mean 1, agree.
    assert same.max() < 12
    assert same.mean() == pytest.approx(1, abs=4 * len(same) ** -0.5)


def test_permutations_drawn_in_parts_are_those_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = draw(9, 64)
    monkeypatch.setattr(random, "PART", 100)
    assert (draw(9, 64) == whole).all()


@pytest.mark.parametrize(("n", "count"), [(16, 100_000), (64, 100_000), (1024, 10_000)])
def test_permutations_look_uniform(n: int, count: int) -> None:
    order = draw(count, n)
    pairs = [(0, 1), (0, n // 2), (1, n - 1), (3, 5), (n // 2, n // 2 + 1)]
    values = [stats.chisquare(np.bincount(order[:, i], minlength=n)).pvalue for i in (0, 1, n - 1)]
    for i, j in pairs:
        for difference in ((order[:, i] - order[:, j]) % n, order[:, i] ^ order[:, j]):
            values.append(stats.chisquare(np.bincount(difference, minlength=n)[1:]).pvalue)
    fixed = (order == np.arange(n)).sum(1)
    error = (1 / count) ** 0.5  # of the mean of a Poisson variable of mean 1
    assert min(values) > 1e-4
    assert abs(fixed.mean() - 1) < 4 * error


def test_the_parity_of_four_places_is_uniform() -> None:
    # Shows a permutation by too few rounds of a cipher, which single places and pairs do not.
    order = draw(100_000, 64)
    parity = order[:, 0] ^ order[:, 1] ^ order[:, 2] ^ order[:, 3]
    counts = np.bincount(parity, minlength=64)
    # a ^ b ^ c ^ d = 0 has probability 1/61: of the 61 numbers left for d one is a ^ b ^ c.
    chance = np.full(64, (1 - 1 / 61) / 63)
    chance[0] = 1 / 61
    assert stats.chisquare(counts, chance * len(parity)).pvalue > 1e-4
