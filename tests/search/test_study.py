"""The search of several series, with records in place of training."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from said_lightning.config.ladder import Ladder
from said_lightning.runs.record import CHOOSING, Metric, Part, Record
from said_lightning.runs.scores import write_scores
from said_lightning.search.jobs import Job
from said_lightning.search.protocol import Plan
from said_lightning.search.study import Overrides, Series, scores_of, search

PLAN = Plan(low=100, high=10**5, rates=(0.333, 1.0, 3.0), seeds=3, batch=3)


class Trainer:
    """Answers with records, and remembers what it was asked."""

    def __init__(self, full: float | None = 0.8, d90: int = 1000) -> None:
        self.full, self.d90 = full, d90
        self.batches: list[list[dict[str, str]]] = []

    def __call__(self, batch: list[Overrides]) -> list[Record | None]:
        self.batches.append([dict(one.split("=") for one in overrides) for overrides in batch])
        return [self.train(job) for job in self.batches[-1]]

    def train(self, job: dict[str, str]) -> Record | None:
        value = self.full
        if value is not None:
            value += 0.003 * math.sin(int(job["seed"]) + int(job.get("d", 0)))
        if job["method"] != "full" and value is not None:
            value -= 0.08 - 0.04 * math.log(int(job["d"]) / self.d90)
            value -= 0.01 * math.log(float(job.get("trainer.step_ratio", 13)) / 13) ** 2
        elif value is not None:
            value -= 0.01 * math.log(float(job.get("lr", 5e-5)) / 5e-5) ** 2
        return Record(
            status="done" if value is not None else "failed",
            model="minilm",
            task=job["task"],
            method="full" if job["method"] == "full" else "said",
            seed=int(job["seed"]),
            metric=Metric(name="accuracy", value=value, trivial=0.5),
        )

    @property
    def jobs(self) -> list[dict[str, str]]:
        """Every job that was asked for."""
        return [job for batch in self.batches for job in batch]


def series(*overrides: str, key: str = "trainer.step_ratio", rate: float = 13.0) -> Series:
    """Return a series whose config has the defaults."""
    return Series(list(overrides), key, rate, 5e-5, 3, 3)


SERIES = [series("task=sst2", "method=said"), series("task=cola", "method=said")]


def test_full_fine_tuning_comes_first_and_series_share_each_round() -> None:
    trainer = Trainer()
    answers = search(SERIES, trainer, PLAN)
    first = trainer.batches[0]
    assert {(job["task"], job["method"]) for job in first} == {("sst2", "full"), ("cola", "full")}
    assert all({job["task"] for job in batch} == {"sst2", "cola"} for batch in trainer.batches)
    assert [answer.verdict for answer in answers] == ["found", "found"]


def test_series_that_differ_in_their_method_ask_for_the_same_full_fine_tuning() -> None:
    trainer = Trainer()
    search([SERIES[0], series("task=sst2", "method=did")], trainer, PLAN)
    asked = Counter(
        (index, tuple(sorted(job.items())))
        for index, batch in enumerate(trainer.batches)
        for job in batch
        if job["method"] == "full"
    )
    assert set(asked.values()) == {2}


def test_a_job_says_its_stage_by_its_seed_and_by_where_it_may_stop() -> None:
    trainer = Trainer()
    search(SERIES[:1], trainer, PLAN)
    for job in trainer.jobs:
        assert ("trainer.stop_at" in job) == (int(job["seed"]) >= 2 * CHOOSING)
    confirm = [job for job in trainer.jobs if int(job["seed"]) < CHOOSING]
    assert {int(job["seed"]) for job in confirm} == {0, 1, 2}
    (stop_at,) = {job["trainer.stop_at"] for job in trainer.jobs if "trainer.stop_at" in job}
    assert float(stop_at) == pytest.approx(0.9 * 0.8 * 1.03, abs=0.003)


def test_a_rate_is_a_factor_on_the_configs_own() -> None:
    job = Job("rates", 300, 3.0, CHOOSING)
    full = job._replace(d=None)
    said, given = SERIES[0], series("task=sst2", "method=said", "lr=0.1", key="lr", rate=0.1)
    assert "trainer.step_ratio=39" in said.job(job)
    assert said.job(full) == ["task=sst2", "method=full", f"seed={CHOOSING}", "lr=0.00015"]
    assert given.job(job)[-1] == "lr=0.3"
    assert given.job(full)[-1] == "lr=0.00015"
    adapter = series("task=sst2", "method=unilora", key="method.peft.lr", rate=0.05)
    assert adapter.job(job)[-1] == "method.peft.lr=0.15"
    assert not [one for one in said.job(job._replace(rate=1.0)) if "ratio" in one or "lr" in one]


def test_a_length_is_a_factor_on_the_configs_epochs() -> None:
    one = series("method=said")._replace(epochs=4)
    job = Job("rates", 300, 1.0, CHOOSING, 2.0)
    assert one.job(job)[-1] == "trainer.epochs=8"
    assert one.job(job._replace(d=None))[-1] == "trainer.epochs=6"
    assert one.job(job._replace(length=0.1))[-1] == "trainer.epochs=1"


def test_what_chooses_is_scored_on_select_and_what_is_read_on_report(tmp_path: Path) -> None:
    record = Record(
        status="done", model="m", task="t", method="said", seed=0, folder=tmp_path,
        metric=Metric(name="accuracy", value=0.7),
        select=Part(split="dev", rows=9, value=0.6, trivial=0.5),
    )  # fmt: skip
    confirm, rates = Job("confirm", 300, 1.0, 0), Job("rates", 300, 1.0, 0)
    assert scores_of(record, rates) == scores_of(record, rates._replace(stage="locate")) == 0.6
    assert scores_of(record, confirm) == 0.7
    kept = replace(record, scores=write_scores(tmp_path, np.array([1.0, 0.0, 1.0])))
    rows: Any = scores_of(kept, confirm)
    assert rows.tolist() == [1.0, 0.0, 1.0]


def test_the_corrected_threshold_is_searched_where_asked_for() -> None:
    trainer = Trainer()
    (answer,) = search(SERIES[:1], trainer, replace(PLAN, corrected=True))
    assert answer.threshold == pytest.approx(0.05 + 0.9 * (answer.full or 0))


def test_without_a_baseline_no_subspace_is_trained() -> None:
    trainer = Trainer(full=None)
    search(SERIES, trainer, PLAN)
    assert {job["method"] for job in trainer.jobs} == {"full"}


@pytest.mark.parametrize("full", [0.4, 0.54])
def test_a_series_without_a_threshold_above_chance_is_run_once_to_be_in_the_tables(
    full: float,
) -> None:
    trainer = Trainer(full=full)
    search(SERIES, trainer, PLAN)
    assert [job for job in trainer.jobs if job["method"] != "full"] == [
        {"task": task, "method": "said", "d": "100", "seed": "0"} for task in ("sst2", "cola")
    ]


@pytest.mark.parametrize(
    ("full", "why"),
    [
        (None, "no-baseline\n every run of full fine-tuning failed"),
        (0.4, "trivial\n full 0.4"),
        (0.8, "found\n full 0.8"),
    ],
)
def test_the_answer_of_each_series_is_logged(
    full: float | None, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        search(SERIES[:1], Trainer(full=full), PLAN)
    assert caplog.messages[-1].startswith("task=sst2 method=said: d90 ")
    assert why in caplog.messages[-1]


def test_a_nested_search_is_one_run_for_each_series_and_seed_that_grows_to_the_threshold() -> None:
    trainer = Trainer()
    search(SERIES, trainer, PLAN, nested=11)
    growing = trainer.batches[-1]
    assert {job["method"] for batch in trainer.batches[:-1] for job in batch} == {"full"}
    assert [(job["task"], job["seed"]) for job in growing] == [
        (task, str(seed)) for task in ("sst2", "cola") for seed in range(3)
    ]
    for job in growing:
        assert (job["d"], job["trainer.grow_from"]) == ("100000", "100")
        assert job["trainer.epochs"] == "11"
        assert 0.71 < float(job["trainer.stop_at"]) < 0.73


@pytest.mark.parametrize(
    ("counts", "d90", "verdict"),
    [
        ([9216 * r for r in range(1, 40)], 30_000, "found"),
        ([9216 * r for r in range(1, 40)], 1000, "below-grid"),
        ([700], 1000, "above-grid"),
        ([1300], 1000, "below-grid"),
        ([900, 1300], 1000, "found"),
        (list(range(771, 10**5)), 2000, "found"),
    ],
)
def test_a_search_asks_for_no_d_that_a_series_cannot_have(
    counts: list[int], d90: int, verdict: str
) -> None:
    sizes = Ladder(range(1, len(counts) + 1), counts, 0)
    trainer = Trainer(d90=d90)
    one = series("task=sst2", "method=lora", key="method.peft.lr", rate=1e-3)
    one = one._replace(nearest=lambda d: sizes.nearest(d).d)
    (answer,) = search([one], trainer, PLAN)
    assert {int(job["d"]) for job in trainer.jobs if "d" in job} <= set(counts)
    assert answer.verdict == verdict
    asked = Counter(tuple(job.items()) for job in trainer.jobs)
    assert set(asked.values()) == {1}
    if verdict == "found" and len(counts) > 2:
        assert answer.d90 == pytest.approx(d90, rel=0.25)
