"""The sizes that a method of PEFT can have: a step for each value of its knob."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Rung(NamedTuple):
    """A value of the knob, None where there is no knob, and how many numbers are trained with it.

    head: those among them that are the head's.
    """

    value: int | None
    d: int
    head: int


@dataclass(frozen=True)
class Ladder:
    """The values of a knob, and the numbers that are trained with each, both rising.

    head: those among them that are the head's, alike for all values.
    """

    values: Sequence[int | None]
    counts: Sequence[int]
    head: int

    def nearest(self, d: int) -> Rung:
        """Return the rung whose count is the fewest times d, or d times it; the lower of equals."""
        above = bisect_left(self.counts, d)
        places = [place for place in (above - 1, above) if 0 <= place < len(self.counts)]
        place = min(places, key=lambda one: max(self.counts[one] / d, d / self.counts[one]))
        return Rung(self.values[place], self.counts[place], self.head)
