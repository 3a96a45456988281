"""What a search has found."""

from collections.abc import Mapping
from dataclasses import dataclass

from said_lightning.analysis.d90 import Estimate, sensitivity
from said_lightning.analysis.reading import Verdict
from said_lightning.analysis.spread import sources_of_width
from said_lightning.search.jobs import Job


@dataclass(frozen=True, kw_only=True)
class Answer:
    """d90 with its 90 % interval, and what it rests on.

    `verdict` says how far d90 is known:
    - found: it lies between two d that were run.
    - below-grid, above-grid: all d that were run meet the threshold, none does. d90 is None, the
      interval (None, smallest d] or (largest d, None).
    - edge: as found, but the best learning rate of the series or of full fine-tuning is the
      smallest or largest that was tried.
    - trivial: the threshold is no better than the trivial score, so that d90 would be 0.
    - no-baseline: full fine-tuning has no result.
    - incomplete: the budget was spent before all runs were made, or all runs failed.

    interval: its ends allow for rates that are not quite the best, which those of `estimate` do
    not. threshold, full: on report rows. rate, length and full_rate, full_length: what was chosen
    for the series and for full fine-tuning, factors on the caller's own. runs: the jobs made, with
    the metric of each, None where it failed. estimate: how d90 was read; None where it was not.
    """

    verdict: Verdict
    d90: int | None
    interval: tuple[int | None, int | None]
    threshold: float | None
    full: float | None
    rate: float
    length: float
    full_rate: float
    full_length: float
    runs: Mapping[Job, float | None]
    notes: tuple[str, ...]
    estimate: Estimate | None

    def __str__(self) -> str:
        low, high = ("..." if end is None else f"{end:,}" for end in self.interval)
        number = "-" if self.d90 is None else f"{self.d90:,}"
        lines = [f"d90 {number} [{low}, {high}]  {self.verdict}"]
        if self.threshold is not None:
            lines.append(
                f"full {self.full:.4f} at rate {self.full_rate:.3g}, threshold {self.threshold:.4f}"
            )
        if self.estimate is not None:
            lines += self._reading(self.estimate)
        return "\n ".join([*lines, *self.notes])

    def _reading(self, found: Estimate) -> list[str]:
        """Return the lines on how d90 was read."""
        made = f"{len(found.d)} d x {found.seeds} seeds at rate {self.rate:.3g}"
        lines = [f"{made}, {len(self.runs)} runs in all"]
        if found.d90 is not None:
            lines.append(f"x{found.width:.2f} at these rates: {sources_of_width(found.parts)}")
            lines.append(sensitivity(found.sensitivity, found.full_less, found.full_more))
        return lines
