"""`measure`: the whole protocol as one function, for any loop that has a d."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from said_lightning.errors import UserError
from said_lightning.search.answer import Answer
from said_lightning.search.jobs import Job, Scores
from said_lightning.search.protocol import Plan, Search
from said_lightning.search.tune import RATES


def measure(
    train: Callable[[Job], Any],
    *,
    low: int,
    high: int,
    budget: int = 120,
    trivial: float | None = None,
    corrected: bool = False,
    rates: Sequence[float] = RATES,
    lengths: Sequence[float] = (1.0,),
    seeds: int = 5,
    width: float | None = None,
    log: str | Path | None = None,
) -> Answer:
    """Measure d90, the number of trained numbers that reaches 90 % of full fine-tuning.

    Neither torch nor Hydra is needed. The answer has `d90`, `interval`, `verdict`, `threshold`,
    `full`, `rate`, `length`, `full_rate`, `full_length`, `runs` (the jobs with their metrics),
    `notes` and `estimate`, and prints as a few lines.

    Args:
        train: makes one run and returns its metric, or an array with a score for each report row
            (their mean is the metric), or None where it failed. Of its job, `d` is None for full
            fine-tuning; `rate` and `length` are factors on your own learning rate and epochs;
            `stage` is rates, locate or confirm. Score the stages rates and locate on rows that
            the stage confirm does not have. A run may end once its metric is at `stop_at`.
        low: the least d.
        high: the largest d.
        budget: runs at most, full fine-tuning and failed ones counted.
        trivial: what a constant answer scores, by which stuck runs are recognised.
        corrected: the threshold lies 90 % of the way from `trivial` to full fine-tuning.
        rates: factors on your learning rate to begin with; the list grows until the best lies
            inside it. One alone is used as it is.
        lengths: factors on your epochs to choose from.
        seeds: runs of each d that the answer is read from.
        width: the interval's ends should differ by this factor at most, at the price of more seeds.
        log: a file that gets a line for each run; one that is there is read first, and its runs
            are not repeated, so that a measurement that was killed goes on.

    Raises:
        UserError: an argument or a score is wrong, or the log cannot be read.

    Examples:
        A toy in place of training, whose d90 is about 213.

    >>> import math
    >>> def train(job):
    ...     learned = 1 / (1 + (100 / (job.d or 1e9)) ** 1.5)
    ...     rate_is_off = 0.02 * math.log(job.rate / 2) ** 2
    ...     seed_effect = 0.004 * math.sin(7 * job.seed + (job.d or 0))
    ...     return 0.5 + 0.35 * learned - rate_is_off + seed_effect
    >>> answer = measure(train, low=50, high=20_000, trivial=0.5)
    >>> answer.verdict, answer.rate
    ('found', 3.0)
    >>> answer.interval[0] < 213 < answer.interval[1]
    True
    """
    plan = Plan(
        low=low,
        high=high,
        rates=tuple(rates),
        lengths=tuple(lengths),
        seeds=seeds,
        width=width,
        budget=budget,
        trivial=trivial,
        corrected=corrected,
    )
    if messages := validate_plan(plan):
        raise UserError(*messages)
    search = Search(plan)
    kept = _read(Path(log)) if log is not None else {}
    while jobs := search.ask():
        for job in jobs:
            if job not in kept:
                kept[job] = _scores(train(job), job)
                if log is not None:
                    _append(Path(log), job, kept[job])
            search.observe(job, kept[job])
    assert search.answer is not None
    return search.answer


def validate_plan(plan: Plan) -> list[str]:
    """Return what is wrong with a plan, a message each."""
    found = []
    if not 1 <= plan.low < plan.high:
        found.append(f"low={plan.low}, high={plan.high}: expected 1 <= low < high")
    for name in ("rates", "lengths"):
        values = getattr(plan, name)
        if (
            not values
            or len(set(values)) < len(values)
            or not all(0 < one < np.inf for one in values)
        ):
            found.append(f"{name}={values}: expected factors above 0, all different")
    if plan.seeds < 2:
        found.append(f"seeds={plan.seeds}: expected 2 at least, or there is no interval")
    if plan.width is not None and not plan.width > 1:
        found.append(f"width={plan.width}: expected a factor above 1, such as 1.5")
    if plan.budget < 1:
        found.append(f"budget={plan.budget}: expected 1 run at least")
    if plan.corrected and plan.trivial is None:
        found.append("corrected=True: expected trivial, the score that it corrects for")
    return found


def _scores(found: Any, job: Job) -> Scores | None:
    """Return what a run gave as a number, an array with a score for each row, or None."""
    if found is None:
        return None
    try:
        scores = np.asarray(found, dtype=float)
    except (TypeError, ValueError):
        scores = np.zeros((0, 0))
    if scores.ndim > 1 or scores.size == 0:
        raise UserError(
            f"{job}: train returned {found!r:.60}; expected a number, an array with a score for "
            "each report row, or None for a run that failed"
        )
    return scores if scores.ndim else float(scores)


def _append(path: Path, job: Job, scores: Scores | None) -> None:
    line = job._asdict() | {"scores": scores.tolist() if isinstance(scores, np.ndarray) else scores}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _read(path: Path) -> dict[Job, Scores | None]:
    """Return the runs of a log; its last line may have been cut off, which is taken out."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    found = {}
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            values = json.loads(line)
            scores = values.pop("scores")
            job = Job(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"{path}, line {number}: expected a run of a measurement: {error}; "
                "take the line out to make the run again"
            ) from None
        found[job] = _scores(scores, job)
    return found
