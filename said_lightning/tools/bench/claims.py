"""Claims that a benchmark asserts: a measured figure and its bound."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A figure that is to be at most, or at least, a bound."""

    text: str
    value: float
    most: float | None = None
    least: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the figure keeps to its bound."""
        return (self.most is None or self.value <= self.most) and (
            self.least is None or self.value >= self.least
        )

    def __str__(self) -> str:
        bound = f"<= {self.most:g}" if self.most is not None else f">= {self.least:g}"
        return f"{'holds' if self.holds else 'FAILS'}  {self.text}: {self.value:.4g} ({bound})"


def assert_all(claims: list[Claim]) -> None:
    """Print the claims and end the program, with exit code 1 where one fails."""
    for claim in claims:
        print(claim)
    sys.exit(not all(claim.holds for claim in claims))
