"""Metrics equal scikit-learn's and scipy's, and a constant answer gets what trivial_score says."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from said_lightning.data.metrics import BUILDERS, build_metrics, predictions, trivial_score
from said_lightning.data.readers import read_task
from said_lightning.data.task import TaskConfig
from said_lightning.data.validate import METRICS

REFERENCE: dict[str, Callable[..., Any]] = {
    "accuracy": accuracy_score,
    "exact_match": accuracy_score,
    "f1": f1_score,
    "macro_f1": partial(f1_score, average="macro"),
    "weighted_f1": partial(f1_score, average="weighted"),
    "matthews": matthews_corrcoef,
    "pearson": lambda labels, scores: pearsonr(labels, scores)[0],
    "spearman": lambda labels, scores: spearmanr(labels, scores)[0],
}


def task(classes: int) -> TaskConfig:
    """Return a task with `classes` classes, or a regression for one, and every metric that fits."""
    kind = "classification" if classes > 1 else "regression"
    metrics = [name for name in METRICS[kind] if name != "f1" or classes == 2]
    labels = [f"label {i}" for i in range(classes)] if classes > 1 else []
    return TaskConfig(kind=kind, labels=labels, metric=metrics[0], metrics=metrics)


def score(config: TaskConfig, answers: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """All metrics, over batches of uneven size."""
    metrics = build_metrics(config)
    for answer, label in zip(torch.split(answers, 96), torch.split(labels, 96), strict=True):
        metrics.update(answer, label)
    return {name: float(value) for name, value in metrics.compute().items()}


def test_every_named_metric_is_built_and_checked() -> None:
    assert {m for names in METRICS.values() for m in names} == set(BUILDERS) == set(REFERENCE)


@pytest.mark.parametrize("classes", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_the_references_on_1000_random_predictions(classes: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(1000, classes, generator=draw)
    labels = torch.randint(0, max(classes, 26), (1000,), generator=draw)
    # Classes that lean towards the prediction; scores with ties, as STS-B has.
    answers = predictions(logits)
    labels = (
        labels / 5 + answers
        if classes == 1
        else torch.where(labels < 13, answers, labels % classes)
    )
    found = score(task(classes), answers, labels)
    for name, value in found.items():
        assert value == pytest.approx(REFERENCE[name](labels.numpy(), answers.numpy()), abs=1e-6)


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_no_constant_answer_beats_the_trivial_score_and_one_reaches_it(classes: int) -> None:
    labels = (torch.arange(500) ** 2) % 7 % max(classes, 2)
    if classes == 1:
        labels = labels.float()
    config = task(classes)
    constants = [torch.full_like(labels, answer) for answer in range(max(classes, 2))]
    scores = [score(config, constant, labels) for constant in constants]
    for name in config.metrics:
        best = max(found[name] for found in scores)
        assert best == pytest.approx(trivial_score(name, labels.tolist()), abs=1e-6)


def test_trivial_scores_of_the_original_mrpc(make_task: Any, glue: Any) -> None:
    labels = read_task(make_task("mrpc", data_dir=str(glue))).report.labels.tolist()
    assert trivial_score("accuracy", labels) == pytest.approx(0.684, abs=5e-4)
    assert trivial_score("f1", labels) == pytest.approx(0.812, abs=5e-4)


def test_one_output_is_a_score_and_several_are_classes() -> None:
    logits = torch.tensor([[0.5, 2.0], [3.0, 1.0]])
    assert predictions(logits).tolist() == [1, 0]
    assert predictions(logits[:, :1]).tolist() == [0.5, 3.0]
    assert predictions(logits[:1, :1]).shape == (1,)


def test_f1_without_positives_is_0() -> None:
    assert trivial_score("f1", [0, 0]) == 0.0
    assert not np.isnan(score(task(2), torch.zeros(4).long(), torch.zeros(4).long())["f1"])


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_a_correlation_of_constants_is_0_and_of_broken_answers_is_none(name: str) -> None:
    labels, config = torch.arange(200) / 40, task(1)
    assert score(config, torch.full((200,), 0.1), labels)[name] == 0.0
    assert score(config, labels, torch.full((200,), 0.1))[name] == 0.0
    assert score(config, labels[:1], labels[:1])[name] == 0.0
    for broken in (np.nan, np.inf, -np.inf):
        answers = labels.clone()
        answers[150] = broken
        assert np.isnan(score(config, answers, labels)[name])


def test_a_correlation_that_one_answer_dominates_is_exact() -> None:
    labels = torch.arange(20_000).float()
    answers = labels.remainder(7)
    answers[3] = 1e4
    expected = pearsonr(labels.numpy(), answers.numpy())[0]
    assert score(task(1), answers, labels)["pearson"] == pytest.approx(expected, rel=1e-6)
    assert expected != 0
