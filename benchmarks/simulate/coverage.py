"""How often an interval holds the truth: overall, for narrow ones, by width and by family."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NARROW = 1.25

Tally = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One interval, its ends 0 or infinite where open, the truth, and the range that was run.

    `chosen` is the truth at the rates that were chosen, where they are not the best.
    """

    low: float
    high: float
    truth: float
    chosen: float
    span: tuple[float, float]
    family: str
    tails: str
    stuck: bool

    @property
    def held(self) -> bool:
        """Whether the interval holds the truth."""
        return self.low <= self.truth <= self.high

    @property
    def width(self) -> float:
        """The width as a factor, infinite where an end is open."""
        return self.high / self.low if self.low > 0 else math.inf

    @property
    def within(self) -> float:
        """The width within the range that was run."""
        return min(self.high, self.span[1]) / max(self.low, self.span[0])


def tally(cases: Sequence[Case]) -> Tally:
    """Return the shares that held, with how many cases each is of."""
    ascending = sorted(cases, key=lambda case: (case.width, case.within))
    third = len(cases) / 3
    thirds = [ascending[round(i * third) : round((i + 1) * third)] for i in range(3)]
    groups = {
        "family": [case.family for case in cases],
        "tails": [case.tails for case in cases],
        "stuck": ["stuck" if case.stuck else "none" for case in cases],
    }
    return {
        "series": len(cases),
        "held": _held(cases),
        "held_at_chosen_rates": round(
            sum(case.low <= case.chosen <= case.high for case in cases) / len(cases), 4
        ),
        "too_low": round(sum(case.high < case.truth for case in cases) / len(cases), 4),
        "too_high": round(sum(case.low > case.truth for case in cases) / len(cases), 4),
        "median_width": round(float(np.median([case.within for case in cases])), 3),
        "open": sum(case.width == math.inf for case in cases),
        "narrower_than_1.25": _part([case for case in cases if case.width < NARROW]),
        "thirds_by_width": [_part(part) for part in thirds],
        **{name: _by(cases, labels) for name, labels in groups.items()},
    }


def _by(cases: Sequence[Case], labels: Sequence[str]) -> Tally:
    found: dict[str, list[Case]] = defaultdict(list)
    for label, case in zip(labels, cases, strict=True):
        found[label].append(case)
    return {label: _part(found[label]) for label in sorted(found)}


def _part(cases: Sequence[Case]) -> Tally:
    return {"series": len(cases), "held": _held(cases) if cases else None}


def _held(cases: Sequence[Case]) -> float:
    return round(sum(case.held for case in cases) / len(cases), 4)
