"""A split's score equals the references, and the scores of its rows have it as their mean."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from said_lightning.data.metrics import BUILDERS
from said_lightning.data.scores import OF_CONFUSION, OF_PAIRS, row_scores, score

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
CASES = [
    *(
        ("accuracy", 2),
        ("accuracy", 5),
        ("exact_match", 2),
        ("f1", 2),
        ("matthews", 2),
        ("matthews", 3),
    ),
    *(("macro_f1", 2), ("macro_f1", 5), ("weighted_f1", 2), ("weighted_f1", 5)),
    *(("matthews", 20), ("pearson", 1), ("spearman", 1)),
]


def answered(classes: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return answers and labels that agree more than chance has it, with ties in a regression."""
    rng = np.random.default_rng(seed)
    if classes == 1:
        labels = rng.integers(0, 26, n) / 5
        return np.round(labels + rng.normal(0, 1, n), 1).astype(np.float32), labels
    right = rng.integers(0, classes, n)
    return np.where(rng.random(n) < 0.7, right, rng.integers(0, classes, n)), right


def test_every_metric_has_a_score() -> None:
    assert OF_CONFUSION.keys() | OF_PAIRS.keys() == BUILDERS.keys() == REFERENCE.keys()


@pytest.mark.parametrize(("metric", "classes"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_a_score_equals_the_reference(metric: str, classes: int, seed: int) -> None:
    answers, labels = answered(classes, 1000, seed)
    expected = REFERENCE[metric](labels, answers)
    assert score(metric, answers, labels, classes) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("metric", "classes"), CASES)
@pytest.mark.parametrize("n", [60, 700])
def test_the_mean_of_the_rows_scores_is_the_metric(metric: str, classes: int, n: int) -> None:
    answers, labels = answered(classes, n, seed=n)
    scores, whole = (
        row_scores(metric, answers, labels, classes),
        score(metric, answers, labels, classes),
    )
    assert scores.shape == (n,)
    if metric == "accuracy":
        assert scores.mean() == whole
        assert set(scores) == {0.0, 1.0}
    else:
        assert abs(scores.mean() - whole) < 1 / n


@pytest.mark.parametrize(("metric", "classes"), [case for case in CASES if case[0] != "accuracy"])
def test_a_rows_score_is_what_the_metric_loses_without_it(metric: str, classes: int) -> None:
    n = 80
    answers, labels = answered(classes, n, seed=1)
    whole = score(metric, answers, labels, classes)
    others = [np.arange(n) != row for row in range(n)]
    without = [score(metric, answers[rest], labels[rest], classes) for rest in others]
    expected = n * whole - (n - 1) * np.array(without)
    assert row_scores(metric, answers, labels, classes) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("metric", "classes"), CASES)
def test_a_constant_answer_has_finite_scores(metric: str, classes: int) -> None:
    _, labels = answered(classes, 50, seed=2)
    constant = np.full(50, 0.1, np.float32) if classes == 1 else np.zeros(50, int)
    scores = row_scores(metric, constant, labels, classes)
    assert np.isfinite(scores).all()
    # Here the class is right by itself; in the others it is nothing without its opposite.
    assert bool(scores.any()) == (metric in {"accuracy", "exact_match", "macro_f1", "weighted_f1"})


@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_a_row_without_which_answers_or_labels_are_constant_has_a_score(
    metric: str, odd: int
) -> None:
    sides = [np.arange(9.0), np.full(9, 0.3)]
    sides[1][4] = 0.7
    answers, labels = sides[odd], sides[1 - odd]
    whole = score(metric, answers, labels, 1)
    assert row_scores(metric, answers, labels, 1)[4] == pytest.approx(9 * whole)
