"""How two d90 compare, and whether d90 rises or falls over a family: each with an interval.

A ratio is not read off two intervals. Both series are drawn together, the same seeds, the same
report rows and the same full fine-tuning in both where they share them, so that what moves both
falls out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from said_lightning.analysis.cells import (
    Cells,
    Full,
    Points,
    at,
    crossings,
    noise_of,
    settle,
    validate_scores,
)
from said_lightning.analysis.crossing import settled
from said_lightning.analysis.d90 import LEVEL, SHARE, Estimate, number
from said_lightning.analysis.noise import Cell, Noise
from said_lightning.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """The d90 of one series over that of another, None where either is out of the range run.

    `low` and `high` are the ends of its interval, None for an open one; `level` is None, and both
    are, where no two runs differ in their seed alone. `sentence` says it.
    """

    value: float | None
    low: float | None
    high: float | None
    level: float | None
    sentence: str


def ratio(
    one: tuple[Points, Full],
    other: tuple[Points, Full],
    names: tuple[str, str] = ("the first", "the second"),
    share: float = SHARE,
    offset: float = 0.0,
    trivial: float | None = None,
    rows: int | None = None,
    level: float = LEVEL,
    seed: int = 0,
    draws: int | None = None,
) -> Ratio:
    """Compare the d90 of two series; the arguments are those of `estimate`.

    Raise UserError where scores are missing or differ in kind.
    """
    if messages := [*validate_scores(*one), *validate_scores(*other)]:
        raise UserError(*messages)
    first, second = (settle(*series, share, offset, trivial) for series in (one, other))
    return ratio_of(first, second, names, rows, level=level, seed=seed, draws=draws)


def ratio_of(
    one: Cells,
    other: Cells,
    names: tuple[str, str],
    rows: int | None,
    regrets: tuple[float, float] = (0.0, 0.0),
    level: float = LEVEL,
    seed: int = 0,
    draws: int | None = None,
) -> Ratio:
    """Compare the d90 of two series whose stuck runs are set aside.

    The rate of each may be below its best by its regret (said_lightning.analysis.rates).
    """
    if _same(one.full, other.full):
        other = replace(other, full=one.full)
    pair = (one, other)
    found = [at(cells, cells.threshold) for cells in pair]
    value = number(found[0] - found[1]) if np.isfinite(found).all() else None
    noise = noise_of(pair, rows)
    low, high = None, None
    if noise.measured:
        ends = _interval(pair, noise, regrets, level, seed, draws)
        # The fit's own ratio is always inside; out of the range it is infinite, or not known.
        own = found[0] - found[1] if np.isfinite(found).any() else 0.0
        low, high = number(min(ends[0], own)), number(max(ends[1], own))
    known = level if noise.measured else None
    return Ratio(
        value=value, low=low, high=high, level=known, sentence=sentence(names, value, low, high)
    )


def rank_correlation(
    place: Sequence[float | int], family: Sequence[Estimate], level: float = LEVEL
) -> tuple[float, float, float]:
    """Return Spearman's correlation of d90 with `place` over a family, and its interval.

    `place` is what orders the family: the models' sizes, or steps of pre-training. The interval
    holds for this family; whether another would show the same is not in it. A d90 out of its range
    ranks first or last.
    """
    if len(place) != len(family) or len(family) < 3:
        raise UserError("rank correlation: expected a place for each of three estimates at least")
    middle = [
        -np.inf if one.below else np.inf if one.above else np.log(one.d90 or 1) for one in family
    ]
    number = min(len(one.draws) for one in family)
    rng = np.random.default_rng(0)
    drawn = np.stack([rng.permutation(one.draws[:number]) for one in family], axis=1)
    found = _spearman(np.array(place, dtype=float), np.vstack([middle, drawn]))
    tail = (1 - level) / 2
    low, high = np.quantile(found[1:], [tail, 1 - tail])
    return float(found[0]), float(low), float(high)


def _same(one: Cell, other: Cell) -> bool:
    """Return whether two cells of full fine-tuning are the same runs."""
    return one.seeds == other.seeds and np.array_equal(one.values, other.values)


def _interval(
    pair: tuple[Cells, Cells],
    noise: Noise,
    regrets: tuple[float, float],
    level: float,
    seed: int,
    draws: int | None,
) -> tuple[float, float]:
    """Return the logarithms of the ends of the ratio's interval.

    A draw whose crossing is out of the range lies beyond its end, however far. With a better rate,
    the first series would make the lower end smaller, and the second the upper one larger.
    """
    rng = np.random.default_rng(seed)
    first = len(pair[0].x)
    points = first + len(pair[1].x)
    # Of each series its points, and its full fine-tuning, which comes after all points.
    own = ([*range(first), points], [*range(first, points), -1])

    def make(number: int) -> Float[ndarray, "2 draws"]:
        errors = noise.draw(rng, number)
        least, most = [], []
        for cells, columns, regret in zip(pair, own, regrets, strict=True):
            # Once as it is, and once at a rate that is perhaps better.
            both = [
                crossings(cells, errors[:, columns], rng, -by)
                for by in dict.fromkeys((0.0, regret))
            ]
            least.append(np.where(both[-1] == np.inf, cells.x[-1], both[-1]))
            most.append(np.where(both[0] == -np.inf, cells.x[0], both[0]))
        return np.stack([least[0] - most[1], most[0] - least[1]])

    low, high, _ = settled(make, level, draws)
    return low, high


def _spearman(
    place: Float[ndarray, " family"], values: Float[ndarray, "draws family"]
) -> Float[ndarray, " draws"]:
    """Return the rank correlation of each draw with `place`, ties at their mean rank."""
    one = _ranks(place[None])
    other = _ranks(values)
    one, other = (ranks - ranks.mean(1, keepdims=True) for ranks in (one, other))
    scale = np.sqrt((one**2).sum(1) * (other**2).sum(1))
    return (one * other).sum(1) / np.where(scale > 0, scale, np.inf)


def _ranks(values: Float[ndarray, "draws family"]) -> Float[ndarray, "draws family"]:
    """Return the rank of each value within its draw, equals at their mean."""
    less = (values[:, :, None] > values[:, None, :]).sum(2)
    equal = (values[:, :, None] == values[:, None, :]).sum(2)
    return less + (equal - 1) / 2


def sentence(
    names: tuple[str, str], value: float | None, low: float | None, high: float | None
) -> str:
    """Return what the interval of a ratio shows."""
    first, second = names
    span = f"[{digits(low)}, {digits(high)}]"
    if low is None and high is None:
        return f"{first} against {second}: nothing can be said of the ratio of their d90"
    if value is not None and ((low or 0) > 1 or (high is not None and high < 1)):
        return f"{first} needs {digits(value)} {span} times {second}'s d90"
    if low is not None and low > 1:
        return f"{first} needs more than {second}: at least {digits(low)} times its d90"
    if high is not None and high < 1:
        return f"{first} needs less than {second}: at most {digits(high)} times its d90"
    if low is None or high is None:
        return f"no difference can be shown between {first} and {second}, whose ratio is {span}"
    factor = digits(max(high, 1 / low))
    return f"no difference can be shown between {first} and {second}, down to a factor of {factor}"


def digits(number: float | None) -> str:
    """Return a ratio to two digits, `...` for an open end."""
    return "..." if number is None else f"{float(f'{number:.2g}'):g}"
