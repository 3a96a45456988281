"""Two d90 compared on the seeds and rows they share, and d90 over a family."""

import numpy as np
import pytest

from said_lightning.analysis.d90 import Estimate, estimate
from said_lightning.analysis.ratio import Ratio, rank_correlation, ratio
from said_lightning.errors import UserError

Metrics = dict[int, float]
Series = tuple[dict[int, Metrics], Metrics]

FULL = {0: 0.79, 1: 0.80, 2: 0.81}


def series(shift: float, key: int = 0, effect: float = 0.0, full: Metrics = FULL) -> Series:
    """Return metrics that cross 0.72 at 283 / 2^shift; `effect` is what seeds share."""
    rng = np.random.default_rng(key)
    points = {
        50 * 2**i: {
            seed: 0.62 + 0.04 * (i + shift) + effect * (seed - 1) + rng.normal(0, 0.004)
            for seed in full
        }
        for i in range(6)
    }
    return points, full


def span(one: Ratio) -> float:
    assert one.low is not None
    assert one.high is not None
    return float(np.log(one.high / one.low))


def test_a_series_that_needs_half_as_much_is_said_to() -> None:
    found = ratio(series(1.0), series(-0.5, key=1), names=("SAID", "DID"))
    assert found.value == pytest.approx(2**-1.5, rel=0.1)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 2**-1.5 < found.high < 1
    numbers = [f"{float(f'{n:.2g}'):g}" for n in (found.value or 0, found.low, found.high)]
    assert found.sentence == f"SAID needs {numbers[0]} [{numbers[1]}, {numbers[2]}] times DID's d90"


def test_two_alike_show_no_difference_and_say_how_large_one_may_be() -> None:
    found = ratio(series(0.0), series(0.0, key=1), names=("SAID", "DID"))
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1 < found.high
    factor = max(found.high, 1 / found.low)
    assert found.sentence == (
        "no difference can be shown between SAID and DID, "
        f"down to a factor of {float(f'{factor:.2g}'):g}"
    )


def test_the_other_way_round_the_ratio_is_turned_over() -> None:
    one, other = series(0.5), series(0.0, key=1)
    there, back = ratio(one, other), ratio(other, one)
    assert there.value == pytest.approx(1 / (back.value or 0))
    assert there.low == pytest.approx(1 / (back.high or 0), rel=0.03)
    assert there.high == pytest.approx(1 / (back.low or 0), rel=0.03)


def test_what_seeds_do_to_both_series_falls_out() -> None:
    full = dict.fromkeys(range(6), 0.8)
    one, other = series(0.5, 0, 0.01, full), series(0.0, 1, 0.01, full)
    points = {d: {10 + s: v for s, v in cell.items()} for d, cell in other[0].items()}
    apart = (points, full)
    assert span(ratio(one, other)) < 0.8 * span(ratio(one, apart))


def test_the_same_full_fine_tuning_falls_out() -> None:
    wide = {0: 0.74, 1: 0.80, 2: 0.86}
    shared = ratio(series(0.5, full=wide), series(0.0, key=1, full=wide))
    # Other runs of it: what they show is the same, but nothing of it is shared.
    again = {10 + seed: value + 1e-9 for seed, value in wide.items()}
    apart = ratio(series(0.5, full=wide), (series(0.0, key=1, full=wide)[0], again))
    assert span(shared) < 0.8 * span(apart)


def test_a_series_out_of_its_range_gives_an_open_ratio() -> None:
    found = ratio(series(-6.0), series(0.5, key=1), names=("DID", "SAID"))
    assert (found.value, found.high) == (None, None)
    assert found.low is not None
    assert found.low > 1
    assert found.sentence.startswith("DID needs more than SAID: at least ")
    turned = ratio(series(0.5, key=1), series(-6.0), names=("SAID", "DID"))
    assert turned.low is None
    assert turned.sentence.startswith("SAID needs less than DID: at most ")
    both = ratio(series(-6.0), series(-6.0, key=1), names=("SAID", "DID"))
    assert (both.low, both.high) == (None, None)
    assert "nothing can be said" in both.sentence


def test_without_repeated_seeds_there_is_a_ratio_and_no_interval() -> None:
    alone = ({d: {0: cell[0]} for d, cell in series(0.0)[0].items()}, FULL)
    found = ratio(alone, alone)
    assert (found.value, found.level, found.low) == (1.0, None, None)


def test_scores_of_both_series_are_validated() -> None:
    with pytest.raises(UserError, match=r"(?s)points: expected.*full: expected"):
        ratio(({}, FULL), (series(0.0)[0], {}))


def family(*shifts: float) -> list[Estimate]:
    return [estimate(*series(shift, key=key)) for key, shift in enumerate(shifts)]


def test_a_d90_that_falls_with_size_has_a_rank_correlation_of_minus_one() -> None:
    found, low, high = rank_correlation([1, 2, 3, 4], family(-1.2, -0.2, 0.8, 1.8))
    assert (found, low) == (-1.0, -1.0)
    assert high < -0.5


def test_a_family_without_a_trend_has_an_interval_that_holds_0() -> None:
    _, low, high = rank_correlation([1, 2, 3, 4], family(0.05, 0.0, 0.0, 0.05))
    assert low < 0 < high


def test_a_d90_beyond_its_range_ranks_last() -> None:
    found, _, _ = rank_correlation([1, 2, 3], [*family(1.0, 0.0), estimate(*series(-6.0))])
    assert found == 1.0


def test_a_family_of_two_has_no_rank_correlation() -> None:
    with pytest.raises(UserError, match="three estimates"):
        rank_correlation([1, 2], family(0.0, 1.0))
