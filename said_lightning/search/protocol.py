"""The search for d90: ask for runs, observe how they ended, read the answer.

Full fine-tuning and the series are tuned alike (`rates`), d90 is found roughly (`locate`), and then
read from runs whose d and seeds were fixed before they were made (`confirm`).
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from said_lightning.analysis.cells import falls, open_ends
from said_lightning.analysis.d90 import SHARE, Estimate, allowed
from said_lightning.analysis.price import POINTS, WIDTH, price
from said_lightning.analysis.reading import Ends, Verdict, verdict_on
from said_lightning.search.answer import Answer
from said_lightning.search.confirm import Outlook, Sides, beyond, look_ahead, window, within
from said_lightning.search.confirmed import Confirmed
from said_lightning.search.jobs import Job, Runs, Scores, Steps, Stop
from said_lightning.search.locate import STEP, Grid, Nearest, Place, locate
from said_lightning.search.tune import RATES, Tuned, tune

log = logging.getLogger(__name__)

NEAR, CLOSE = 8, 3  # grid steps: before rates are compared, and before confirm
ROUNDS = 2  # times that a series' rates are compared, the second where d90 came to lie far off


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to search, and how closely.

    low, high: the range of d, both ends searched. rates, lengths: factors on the caller's own
    learning rate and epochs to choose from; the list of rates grows, unless it has one alone.
    seeds: of each d in the stage confirm. width: how far the ends of the interval may differ, as a
    factor, for which there may be more seeds. budget: runs at most, full fine-tuning and failed
    ones counted. trivial: what the majority class scores. corrected: the threshold lies 90 % of
    the way from there to full fine-tuning, not from 0. batch: runs of the stage locate to ask for
    at once.
    """

    low: int
    high: int
    rates: Sequence[float] = RATES
    lengths: Sequence[float] = (1.0,)
    seeds: int = 5
    width: float | None = None
    budget: int = 120
    trivial: float | None = None
    corrected: bool = False
    batch: int = 2


class Search:
    """A search as a machine that asks for jobs, observes their scores and has an answer in the end.

    The jobs that `ask` returns may run in any order, and their scores be observed one by one. The
    same scores give the same search. With `nested` it ends once full fine-tuning is measured. Every
    d that it asks for is one that `nearest` gives.
    """

    def __init__(self, plan: Plan, nested: bool = False, nearest: Nearest = int) -> None:
        self.plan = plan
        self.nested = nested
        self.nearest = nearest
        self.runs = Runs(plan.budget, plan.trivial)
        self.grid = Grid(plan.low, plan.high, nearest)
        self.answer: Answer | None = None
        own = Tuned(None, min(plan.rates, key=lambda one: abs(np.log(one))), min(plan.lengths), ())
        self._full = self._series = own
        self._confirmed = Confirmed(self.runs, plan.corrected)
        self._wanted: list[Job] = []
        self._steps = self._protocol()

    def ask(self) -> list[Job]:
        """Return the jobs that are wanted next; none once there is an answer."""
        while self.answer is None:
            if missing := [job for job in self._wanted if job not in self.runs.scores]:
                return missing
            try:
                self._wanted = next(self._steps)
            except StopIteration as end:
                self.answer = end.value
        return []

    def observe(self, job: Job, scores: Scores | None) -> None:
        """Add the scores of a job; None for one that failed, which is not asked for again."""
        finite = scores is not None and bool(np.isfinite(scores).all())
        self.runs.scores[job] = scores if finite else None

    @property
    def threshold(self) -> float:
        """What a run has to meet on select rows, once full fine-tuning is tuned."""
        return SHARE * self._full.mean + self._confirmed.offset

    def _protocol(self) -> Steps[Answer]:
        try:
            yield from self._measure_full()
            if self.nested:
                raise Stop("nested", "full fine-tuning is measured")
            yield from self._tune_series()
            yield from self._confirm()
        except Stop as stop:
            return self._answer(stop.verdict, str(stop), self._confirmed.estimate())
        found = self._confirmed.estimate()
        assert found is not None
        verdict = verdict_on(found, self._series.edge, self._full.edge)
        return self._answer(verdict, None, found)

    def _measure_full(self) -> Steps[None]:
        """Tune full fine-tuning and make its confirm runs; raise Stop without a threshold."""
        tuned = yield from self._tune(None)
        if tuned is None:
            raise Stop("no-baseline", "every run of full fine-tuning failed")
        self._full = tuned
        yield from self._make([None], range(self.plan.seeds))
        whole, trivial = self._confirmed.full() or 0.0, self.runs.trivial
        offset = self._confirmed.offset
        if trivial is not None and min(whole, SHARE * whole + offset) <= trivial:
            raise Stop(
                "trivial", f"the threshold is no better than the trivial score {trivial:.4f}"
            )

    def _tune_series(self) -> Steps[None]:
        """Choose rate and length near d90; once more where d90 moved far off with them."""
        choices = len(self.plan.rates) * len(self.plan.lengths)
        for _ in range(ROUNDS if choices > 1 else 0):
            place = yield from self._locate(NEAR)
            d = self._series.d
            if d is not None and abs(np.log(place.low / d)) <= NEAR * np.log(STEP):
                return
            tuned = yield from self._tune(place.low)
            if tuned is None:
                raise Stop("incomplete", f"every run of the series failed at d = {place.low:,}")
            self._series = tuned

    def _tune(self, d: int | None) -> Steps[Tuned | None]:
        """Choose rate and length: with one seed more than what rests on them."""
        plan = self.plan
        return (yield from tune(self.runs, d, plan.rates, plan.lengths, plan.seeds + 1))

    def _locate(self, width: int) -> Steps[Place]:
        found = yield from locate(
            *(self.runs, self.grid, self._series, self.threshold),
            batch=self.plan.batch,
            width=width,
            spare=POINTS * self.plan.seeds,
        )
        if found is None:
            raise Stop("incomplete", "every run of the series failed")
        return found

    def _confirm(self) -> Steps[None]:
        """Make the runs that are read: more d where they enclose the crossing or the interval not.

        The former ends the search where the budget is short of it, the latter is left then. Where
        a width is asked for, a number of seeds that was fixed before all of them follows, for which
        the budget is kept.
        """
        outlook = look_ahead(
            self.runs, self._full, self._series, (yield from self._locate(CLOSE)), self.threshold
        )
        points, gap = window(outlook, self.plan.seeds, self.grid.d[0], self.grid.d[-1])
        points = self._possible(points)
        more = self._announce(outlook, points)
        seeds, confirmed = range(self.plan.seeds), self._confirmed
        yield from self._make(points, seeds)
        while points := self._further(confirmed.crossing_short(), gap):
            yield from self._make(points, seeds)
        while points := self._further(confirmed.interval_short(self._regrets), gap):
            if len(points) * len(seeds) > self.runs.left - more * (POINTS + 1):
                break
            yield from self._make(points, seeds)
        found = confirmed.estimate()
        if more and found is not None and found.d90 is not None:
            ends = found.low or confirmed.d[0], found.high or confirmed.d[-1]
            inside = self._possible(within(*map(float, ends)))
            yield from self._make([None, *inside], range(len(seeds), len(seeds) + more))

    def _further(self, short: Sides, gap: float) -> list[int]:
        """Return the d that follow on the sides where those that are read fall short."""
        read = self._confirmed.d
        further = beyond(read, short, gap, self.grid.d[0], self.grid.d[-1])
        return [d for d in self._possible(further) if d not in read]

    def _possible(self, points: Sequence[int]) -> list[int]:
        """Return the d that the series can have nearest to some d."""
        return sorted({self.nearest(d) for d in points})

    def _make(self, points: Sequence[int | None], seeds: range) -> Steps[None]:
        """Make confirm runs; raise Stop where all failed."""
        confirmed = self._confirmed
        for d in points:
            confirmed.want(d, seeds, self._full if d is None else self._series)
        yield from self.runs.make(confirmed.jobs)
        if not confirmed.scores(None):
            raise Stop("no-baseline", "every run of full fine-tuning failed")
        if points != [None] and not confirmed.curve():
            raise Stop("incomplete", "every run of the stage confirm failed")

    def _announce(self, outlook: Outlook, points: Sequence[int]) -> int:
        """Log what a width costs before any run is read; return the seeds that are added for it."""
        width, seeds = self.plan.width or WIDTH, self.plan.seeds
        more = outlook.more_seeds(points, seeds, width)
        cost = "is out of reach"
        if more is not None:
            cost = f"wants about {more * (POINTS + 1)} more runs" if more else "wants no more runs"
        log.info(
            "confirm: %d d x %d seeds; x%g at the scatter seen %s",
            *(len(points), seeds, width, cost),
        )
        return more or 0 if self.plan.width is not None else 0

    def _answer(self, verdict: Verdict, why: str | None, found: Estimate | None) -> Answer:
        """Return an answer, with all that is known at this point."""
        whole = found.full if found else self._confirmed.full()
        interval = self._interval(found) if found else (None, None)
        return Answer(
            verdict=verdict,
            d90=_whole(found.d90) if found else None,
            interval=interval,
            threshold=None if whole is None else SHARE * whole + self._confirmed.offset,
            full=whole,
            rate=self._series.rate,
            length=self._series.length,
            full_rate=self._full.rate,
            full_length=self._full.length,
            runs={job: self.runs.metric(job) for job in self.runs.scores},
            notes=tuple([why] if why else []) + tuple(self._notes(found, interval)),
            estimate=found,
        )

    @property
    def _regrets(self) -> tuple[float, float]:
        """What a rate may be below its best by, of the series and of full fine-tuning."""
        return self._series.regret, self._full.regret

    def _interval(self, found: Estimate) -> Ends:
        low, high = allowed(found, self._regrets)
        return _whole(low), _whole(high)

    def _notes(self, found: Estimate | None, interval: Ends) -> Iterator[str]:
        """Yield what the answer rests on that a reader would not expect."""
        for name, tuned in (("full fine-tuning", self._full), ("the series", self._series)):
            if tuned.edge:
                yield f"the best rate of {name}, {tuned.rate:.3g}, is at the edge of those tried"
            if tuned.rising:
                yield f"{name} still improves with the longest training, {tuned.length:g}"
        if len(self.plan.rates) == 1:
            yield "rates were not compared: one was given"
        if found is not None:
            yield from falls(self._confirmed.curve(), found.threshold)
        if found is not None and found.d90 is not None:
            yield from open_ends(self._confirmed.d, interval)
        if found is not None and found.stuck:
            stuck = (f"{_named(run.d)} seed {run.seed}" for run in found.stuck)
            yield f"stuck at the trivial score and set aside: {'; '.join(stuck)}"
        width = self.plan.width or WIDTH
        if found is not None and found.d90 is not None and found.width > width:
            yield price(found, width).sentence
        failed = [job for job, scores in self.runs.scores.items() if scores is None]
        if failed:
            shown = "; ".join(
                f"{_named(job.d)} rate {job.rate:.3g} seed {job.seed}" for job in failed[:3]
            )
            yield f"{len(failed)} of {len(self.runs.scores)} runs failed: {shown}"


def _whole(d: float | None) -> int | None:
    return None if d is None else round(d)


def _named(d: int | None) -> str:
    return "full fine-tuning" if d is None else f"d = {d:,}"
