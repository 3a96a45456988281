"""Comparisons of series: the ratio of two d90 with its interval, and d90 over a family of models.

Series that differ in one thing are compared: SAID with DID, other projections with fastfood and
those of one kind with its plain form, other spaces with all weights, methods of PEFT with SAID (or
with DID where SAID is not there), each model with the next smaller one, each pre-training step with
the one before. A ratio is not read off two intervals; both series are drawn together.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from said_lightning.analysis.d90 import Estimate
from said_lightning.analysis.ratio import rank_correlation, ratio_of
from said_lightning.analysis.reading import Evidence

if TYPE_CHECKING:
    from said_lightning.analysis.estimator import Row

Over = Literal["method", "projection", "space", "model", "step"]
# What others are held against, where it is there, and in which facts both agree besides.
REFERENCES: dict[str, tuple[str, ...]] = {
    "method": ("did",),
    "projection": ("fastfood", "kronecker-random", "released-exact"),
    "space": ("all",),
}
AGREE = {
    "method": ("D", "outside"),
    "projection": ("D", "m", "outside", "lambda_lr"),
    "space": ("outside", "lambda_lr"),
}
_WHOLE = ("all", 0)  # theta's space, and numbers of a head outside
SUBSPACES = ("said", "did")  # what a method of PEFT is held against: the first that is there
CORRELATED = 3  # members of a family at least


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """d90 of a series over that of another, which differs in `over` alone: `of` / `to`.

    `interval` is its 90 % interval, None for an open end. Rates may be below their best by what
    their choice leaves open, as in a d90's own interval. `doubt` is what else is left open, such as
    rates that were not compared; empty where nothing is.
    """

    over: Over
    of: str
    to: str
    ratio: float | None
    interval: tuple[float | None, float | None]
    level: float | None
    doubt: str
    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Correlation:
    """Whether d90 rises or falls over a family: Spearman's rank correlation, with its interval.

    `over` is model for D, the number of weights, or step for the steps of pre-training.
    """

    over: Over
    members: tuple[str, ...]
    correlation: float
    interval: tuple[float, float]
    sentence: str


class Subject(NamedTuple):
    """A series that may be compared; its estimate is None where d90 is not read."""

    row: "Row"
    evidence: Evidence
    estimate: Estimate | None


Found = tuple[tuple[Comparison, ...], tuple[Correlation, ...]]


def updates(step: str) -> int | None:
    """Return a pre-training step as a number: `20k` is 20,000; None for another name."""
    found = re.fullmatch(r"(\d+)(k?)", step)
    return int(found[1]) * (1000 if found[2] else 1) if found else None


def family(row: "Row") -> str:
    """Return the name of the model, without its step of pre-training."""
    return row.model.replace(f"-{row.step}", "") if row.step else row.model


def compare(subjects: Sequence[Subject]) -> list[Found]:
    """Return, for each series, the comparisons that it comes first in."""
    comparisons: dict[int, list[Comparison]] = defaultdict(list)
    correlations: dict[int, list[Correlation]] = defaultdict(list)
    read = [one for one in subjects if one.estimate is not None]
    for one, other, over in _pairs(read):
        comparisons[id(one.row)].append(_comparison(one, other, over))
    for members, places, over in _families(read):
        correlations[id(members[0].row)].append(_correlation(members, places, over))
    return [(tuple(comparisons[id(one.row)]), tuple(correlations[id(one.row)])) for one in subjects]


def _pairs(subjects: Sequence[Subject]) -> Iterator[tuple[Subject, Subject, Over]]:
    """Yield the pairs to compare, each with what they differ in."""
    over: Over
    inside = [one for one in subjects if one.row.method in SUBSPACES]
    for over in ("method", "projection", "space"):
        for group in _alike(inside, over):
            yield from ((one, to, over) for one, to in _referred(group, over))
    yield from ((one, to, "method") for one, to in _adapters(subjects))
    for members, _, over in _lines(subjects):
        yield from ((one, before, over) for before, one in pairwise(members))


def _referred(group: Sequence[Subject], over: str) -> Iterator[tuple[Subject, Subject]]:
    """Yield each series with the one that it is held against: the first, where none is a reference.

    Of two that could be a reference, neither is.
    """
    first, *alike = REFERENCES[over]
    named = [one for one in group if getattr(one.row, over) == first]
    to, *others = named or group[:1]
    rest = [one for one in group if getattr(one.row, over) != getattr(to.row, over)]
    yield from ((one, to) for one in rest if not others)
    for plain in alike:
        kind = [one for one in rest if _kind(getattr(one.row, over)) == _kind(plain)]
        named = [one for one in kind if getattr(one.row, over) == plain]
        if len(named) == 1:
            yield from ((one, named[0]) for one in kind if one is not named[0])


def _adapters(subjects: Sequence[Subject]) -> Iterator[tuple[Subject, Subject]]:
    """Yield each method of PEFT with the one subspace of all weights that it is held against.

    Of several projections, it is fastfood's.
    """

    def key(one: Subject) -> tuple[Hashable, ...]:
        row = one.row
        return (row.model, row.task, row.panel, row.series.fact("D"))

    for group in _grouped(subjects, key):
        whole = [one for one in group if (one.row.space, one.row.series.fact("outside")) == _WHOLE]
        first = [[one for one in whole if one.row.method == name] for name in SUBSPACES]
        held = next(filter(None, first), [])
        plain = [one for one in held if one.row.projection == "fastfood"] or held
        if len(plain) == 1:
            yield from ((one, plain[0]) for one in group if one.row.method not in SUBSPACES)


def _kind(projection: str) -> str:
    """Return a projection's name, without its option."""
    return projection.partition("-")[0]


def _families(
    subjects: Sequence[Subject],
) -> Iterator[tuple[list[Subject], list[int], Over]]:
    for members, places, over in _lines(subjects):
        known = [one.estimate is not None and one.estimate.level is not None for one in members]
        if len(members) >= CORRELATED and all(known):
            yield members, places, over


def _alike(subjects: Sequence[Subject], over: str) -> list[list[Subject]]:
    """Return the groups of series that differ in `over` alone, where there are two to compare."""
    names = [name for name in ("method", "projection", "space") if name != over]

    def key(one: Subject) -> tuple[Hashable, ...]:
        row = one.row
        facts = [row.series.fact(name) for name in AGREE[over]]
        return (row.model, row.task, row.panel, *(getattr(row, name) for name in names), *facts)

    return _grouped(subjects, key)


def _lines(subjects: Sequence[Subject]) -> Iterator[tuple[list[Subject], list[int], Over]]:
    """Yield the families: steps of one pre-training, and models of one task, by D."""
    own = ("task", "method", "projection", "space", "protocol")

    def alike(one: Subject) -> tuple[Hashable, ...]:
        facts = [one.row.series.fact(name) for name in ("data_sha256", "metric")]
        return (*facts, *(getattr(one.row, name) for name in own))

    def step(one: Subject) -> int:
        return updates(one.row.step or "") or 0

    stepped = [one for one in subjects if one.row.step and updates(one.row.step) is not None]
    for group in _grouped(stepped, lambda one: (family(one.row), *alike(one))):
        yield from _line(group, step, "step")
    steps = {id(one.row) for one in stepped}
    others = [one for one in subjects if id(one.row) not in steps and one.row.D]
    for group in _grouped(others, alike):
        yield from _line(group, lambda one: one.row.D or 0, "model")


def _line(
    group: Sequence[Subject], place: Callable[[Subject], int], over: Over
) -> Iterator[tuple[list[Subject], list[int], Over]]:
    """Yield a family in order, where no two of its members have the same place."""
    ordered = sorted(group, key=place)
    places = [place(one) for one in ordered]
    if len(set(places)) == len(places) and len({one.row.model for one in ordered}) == len(ordered):
        yield ordered, places, over


def _grouped(
    subjects: Sequence[Subject], key: Callable[[Subject], tuple[Hashable, ...]]
) -> list[list[Subject]]:
    groups: dict[tuple[Hashable, ...], list[Subject]] = defaultdict(list)
    for one in subjects:
        groups[key(one)].append(one)
    return [group for group in groups.values() if len(group) > 1]


def _comparison(one: Subject, other: Subject, over: Over) -> Comparison:
    """Compare two series; each end allows for the rate of one that may be below its best."""
    first, second = one.evidence, other.evidence
    names = (_name(one.row, over), _name(other.row, over))
    regrets = (first.regrets[0], second.regrets[0])
    found = ratio_of(first.cells, second.cells, names, first.rows, regrets)
    return Comparison(
        over=over,
        of=names[0],
        to=names[1],
        ratio=found.value,
        interval=(found.low, found.high),
        level=found.level,
        doubt=_doubt((one, other), over),
        sentence=found.sentence + _bracketed(_doubt((one, other), over)),
    )


def _doubt(subjects: Sequence[Subject], over: Over) -> str:
    """Return what a comparison leaves open that its interval does not hold."""
    edges = [_name(one.row, over) for one in subjects if one.row.verdict == "edge"]
    if edges:
        return f"at the edge of the rates tried: {' and '.join(edges)}"
    choices = [one.evidence.choice for one in subjects]
    if any(choice is not None and choice.rates == 1 for choice in choices):
        return "rates were not compared: the gap may be one between rates"
    return ""


def _bracketed(doubt: str) -> str:
    return f" ({doubt})" if doubt else ""


def _correlation(members: Sequence[Subject], places: Sequence[int], over: Over) -> Correlation:
    found, low, high = rank_correlation(
        places, [one.estimate for one in members if one.estimate is not None]
    )
    what = "D" if over == "model" else "the steps of pre-training"
    trend = "no trend of d90 can be shown"
    if low > 0 or high < 0:
        trend = f"d90 {'rises' if low > 0 else 'falls'}"
    span = f"{found:.2f} [{low:.2f}, {high:.2f}]"
    return Correlation(
        over=over,
        members=tuple(one.row.model for one in members),
        correlation=found,
        interval=(low, high),
        sentence=f"{trend} over {what} of {len(members)} models: rank correlation {span}"
        + _bracketed(_doubt(members, over)),
    )


def _name(row: "Row", over: Over) -> str:
    """Return what a series is called in a comparison."""
    if over == "method":
        return row.method.upper()
    return str(getattr(row, "model" if over == "step" else over))
