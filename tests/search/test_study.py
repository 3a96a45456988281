"""The search of several series, with records in place of training."""

from dataclasses import replace

import pytest

from said_lightning.runs.record import Epoch, Metric, Record
from said_lightning.search.study import Overrides, Settings, search

SETTINGS = Settings(
    low=100,
    high=10**5,
    seeds=2,
    rates=[1.0],
    budget=20,
    tolerance=1.16,
    batch=3,
    to_the_end=False,
    corrected=False,
    nested=None,
    step_ratio=13.0,
)


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
        if job["method"] != "full":
            noise = 0.002 * (int(job["seed"]) % 2)
            value = 0.72 + 0.02 * (int(job["d"]) / self.d90 - 1) + noise
        return Record(
            status="done" if value is not None else "failed",
            model="minilm",
            task=job["task"],
            method="full" if job["method"] == "full" else "said",
            seed=int(job["seed"]),
            metric=Metric(name="accuracy", value=value, trivial=0.5),
            last=Epoch(epoch=1, value=value),
        )


SERIES = [["task=sst2", "method=said"], ["task=cola", "method=said"]]


def test_baselines_come_first_and_series_share_each_round() -> None:
    trainer = Trainer()
    search(SERIES, trainer, SETTINGS)
    first, second, *_ = trainer.batches
    assert {(job["task"], job["seed"]) for job in first} == {
        (task, seed) for task in ("sst2", "cola") for seed in ("0", "1")
    }
    assert {job["method"] for job in first} == {"full"}
    assert {job["task"] for job in second} == {"sst2", "cola"}
    assert len(second) == 2 * SETTINGS.batch


def test_runs_stop_just_above_the_threshold_unless_curves_are_asked_for() -> None:
    trainer = Trainer()
    search(SERIES[:1], trainer, SETTINGS)
    assert {job["trainer.stop_at"] for job in trainer.batches[1]} == {"0.7416"}
    whole = Trainer()
    search(SERIES[:1], whole, replace(SETTINGS, to_the_end=True))
    assert all("trainer.stop_at" not in job for batch in whole.batches for job in batch)


def test_the_corrected_threshold_is_searched_where_asked_for() -> None:
    trainer = Trainer()
    search(SERIES[:1], trainer, replace(SETTINGS, corrected=True))
    assert {job["trainer.stop_at"] for job in trainer.batches[1]} == {"0.7931"}


def test_without_a_baseline_no_subspace_is_trained() -> None:
    trainer = Trainer(full=None)
    search(SERIES[:1], trainer, SETTINGS)
    assert len(trainer.batches) == 1


@pytest.mark.parametrize("full", [0.4, 0.54])
def test_a_series_without_a_threshold_above_chance_is_run_once_to_be_in_the_tables(
    full: float,
) -> None:
    trainer = Trainer(full=full)
    search(SERIES, trainer, SETTINGS)
    _, only = trainer.batches
    assert only == [
        {"task": task, "method": "said", "d": "100", "seed": "0"} for task in ("sst2", "cola")
    ]


@pytest.mark.parametrize(
    ("full", "why"),
    [(None, "has no result for seed 0, 1"), (0.4, "gives no threshold above chance")],
)
def test_why_there_is_no_search_is_logged(
    full: float | None, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        search(SERIES[:1], Trainer(full=full), SETTINGS)
    assert caplog.messages == [f"task=sst2 method=said: full fine-tuning {why}: no search"]


def test_a_series_is_not_searched_before_every_seed_of_its_baseline_is_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trainer = Trainer()

    def one_fails(batch: list[Overrides]) -> list[Record | None]:
        _, *others = trainer(batch)
        return [None, *others]

    with caplog.at_level("INFO"):
        search(SERIES, one_fails, SETTINGS)
    assert caplog.messages[0].endswith("full fine-tuning has no result for seed 0: no search")
    _, *rounds = trainer.batches
    assert {job["task"] for batch in rounds for job in batch} == {"cola"}


def test_a_learning_rate_of_theta_is_not_the_baselines() -> None:
    trainer = Trainer()
    search([[*SERIES[0], "lr=0.1"]], trainer, SETTINGS)
    first, second, *_ = trainer.batches
    assert all("lr" not in job for job in first)
    assert all(job["lr"] == "0.1" for job in second)


def test_another_rate_is_a_multiple_of_the_rules() -> None:
    trainer = Trainer()
    search(SERIES[:1], trainer, replace(SETTINGS, rates=[1.0, 3.0]))
    ratios = {job.get("trainer.step_ratio") for batch in trainer.batches for job in batch}
    assert ratios == {None, "39"}


def test_a_nested_search_is_one_run_for_each_series_and_seed_that_grows_to_the_threshold() -> None:
    trainer = Trainer()
    search(SERIES, trainer, replace(SETTINGS, nested=11))
    _, growing = trainer.batches
    assert [(job["task"], job["seed"]) for job in growing] == [
        ("sst2", "0"),
        ("sst2", "1"),
        ("cola", "0"),
        ("cola", "1"),
    ]
    for job in growing:
        assert (job["d"], job["trainer.grow_from"], job["trainer.epochs"]) == (
            "100000",
            "100",
            "11",
        )
        assert job["trainer.stop_at"] == "0.72"
