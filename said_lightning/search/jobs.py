"""The jobs of a search, and the scores of those that were made."""

from collections.abc import Generator, Iterable
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from said_lightning.analysis.reading import Verdict
from said_lightning.runs.record import CHOOSING

Stage = Literal["rates", "locate", "confirm"]
Scores = float | Float[ndarray, " rows"]
# The first seed of each stage: what is reported has seeds that chose nothing.
SEEDS: dict[Stage, int] = {"confirm": 0, "rates": CHOOSING, "locate": 2 * CHOOSING}

T = TypeVar("T")
# A part of the protocol: yields jobs that it needs, goes on once all were observed.
Steps = Generator[list["Job"], None, T]


class Job(NamedTuple):
    """A run to make.

    d is None for full fine-tuning. rate and length are factors on the caller's own learning rate
    and epochs. A run may end once its metric on the select rows is at `stop_at`; None is never.
    """

    stage: Stage
    d: int | None
    rate: float
    seed: int
    length: float = 1.0
    stop_at: float | None = None


class Stop(Exception):  # noqa: N818 - how a search ends, and no error
    """The search ends without reading d90: `verdict` is its answer, the message says why."""

    def __init__(self, verdict: Verdict, why: str) -> None:
        super().__init__(why)
        self.verdict: Verdict = verdict


class Runs:
    """The runs made so far, at most `budget`; `trivial` is what the majority class scores."""

    def __init__(self, budget: int, trivial: float | None) -> None:
        self.budget = budget
        self.trivial = trivial
        self.scores: dict[Job, Scores | None] = {}

    @property
    def left(self) -> int:
        """How many runs the budget still allows."""
        return self.budget - len(self.scores)

    def make(self, jobs: Iterable[Job]) -> Steps[None]:
        """Yield those of the jobs that were not made. Raise Stop where they are too many."""
        if new := [job for job in dict.fromkeys(jobs) if job not in self.scores]:
            if len(new) > self.left:
                why = f"the stage {new[0].stage} wants {len(new)} more runs, {self.left} are left"
                raise Stop("incomplete", f"budget of {self.budget} runs: {why}")
            yield new

    def metric(self, job: Job) -> float | None:
        """Return the metric of a run, the mean over its rows; None where it failed."""
        scores = self.scores[job]
        return None if scores is None else float(np.mean(scores))

    def metrics(self, jobs: Iterable[Job]) -> list[float]:
        """Return the metric of each of the runs that did not fail."""
        found = (self.metric(job) for job in jobs)
        return [metric for metric in found if metric is not None]
