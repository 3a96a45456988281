"""Curves in place of training, and a search of them to its end."""

import math
from collections.abc import Callable

from said_lightning.search.answer import Answer
from said_lightning.search.jobs import Job
from said_lightning.search.protocol import Plan, Search

PLAN = Plan(low=50, high=20_000, trivial=0.5)
Train = Callable[[Job], float | None]


def curve(d90: float = 700, best: float = 1.0, full: float = 0.8) -> Train:
    """Return runs on a curve through 0.9 * full at d90 that lose by any rate but the best."""

    def train(job: Job) -> float:
        noise = 0.003 * math.sin(7 * job.seed + 3 * (job.d or 0) + job.rate)
        lost = 0.02 * math.log(job.rate / best) ** 2
        if job.d is None:
            return full - 0.02 * math.log(job.rate) ** 2 + noise
        return min(full, max(0.5, 0.9 * full + 0.04 * math.log(job.d / d90))) - lost + noise

    return train


def searched(train: Train, plan: Plan = PLAN) -> Answer:
    """Search to the end."""
    search = Search(plan)
    while jobs := search.ask():
        for job in jobs:
            search.observe(job, train(job))
    assert search.answer is not None
    return search.answer
