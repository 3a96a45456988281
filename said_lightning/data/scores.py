"""The score of a split, and of each of its rows, from the answers to all of them. No torch."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int, Real

SHARES = ("accuracy", "exact_match")  # of rows that are right
Confusion = Int[np.ndarray, "classes classes"]
Answers = Real[np.ndarray, " rows"]


def score(metric: str, answers: Answers, labels: Answers, classes: int) -> float:
    """Return a metric of the answers to a split, class ids or numbers; 0 where it is not defined.

    `classes` counts the classes; a regression has one output and ignores it.
    """
    if metric in OF_CONFUSION:
        return OF_CONFUSION[metric](confusion(answers, labels, classes))
    return OF_PAIRS[metric](answers.astype(float), labels.astype(float))


def row_scores(
    metric: str, answers: Answers, labels: Answers, classes: int
) -> Float[np.ndarray, " rows"]:
    """Return a score for each row, in their order, whose mean is the metric.

    Accuracy and exact match: 1 where the answer is right, else 0. Metrics that are no mean: the
    jackknife's pseudo-values n M - (n - 1) M_without_the_row, whose mean is M up to O(1 / n).
    """
    n, whole = len(labels), score(metric, answers, labels, classes)
    if metric in SHARES:
        return (answers == labels).astype(float)
    if n == 1:
        return np.array([whole])
    if metric == "pearson":
        without = without_pearson(answers.astype(float), labels.astype(float))
    elif metric == "spearman":
        without = without_spearman(answers.astype(float), labels.astype(float))
    else:
        without = without_confused(metric, answers, labels, classes)
    return n * whole - (n - 1) * without


def confusion(answers: Answers, labels: Answers, classes: int) -> Confusion:
    """Return the number of rows for each label (down) and answer (across)."""
    cells = labels.astype(int) * classes + answers.astype(int)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def accuracy(counts: Confusion) -> float:
    """Return the share of right answers."""
    return float(np.trace(counts) / counts.sum())


def f1(counts: Confusion) -> float:
    """Return the F1 of class 1 of two; 0 where neither labels nor answers have it."""
    right, wrong = counts[1, 1], counts[0, 1] + counts[1, 0]
    return float(2 * right / (2 * right + wrong)) if right + wrong else 0.0


def macro_f1(counts: Confusion) -> float:
    """Return the mean F1 of the classes that labels or answers have."""
    there = counts.sum(0) + counts.sum(1)
    return float(f1_of_each(counts)[there > 0].mean())


def weighted_f1(counts: Confusion) -> float:
    """Return the mean F1 of the classes, each weighted by its share of the labels."""
    return float(f1_of_each(counts) @ counts.sum(1) / counts.sum())


def f1_of_each(counts: Confusion) -> Float[np.ndarray, " classes"]:
    """Return the F1 of each class against all others; 0 where no label or answer has it."""
    there = counts.sum(0) + counts.sum(1)
    return 2 * np.diag(counts) / np.maximum(there, 1)


def matthews(counts: Confusion) -> float:
    """Return Matthews' correlation of any number of classes; 0 for a constant answer or label."""
    n, right = int(counts.sum()), int(np.trace(counts))
    there, given = counts.sum(1), counts.sum(0)
    scale = float(n**2 - there @ there) * float(n**2 - given @ given)
    return float((right * n - there @ given) / scale**0.5) if scale else 0.0


def pearson(answers: Float[np.ndarray, " rows"], labels: Float[np.ndarray, " rows"]) -> float:
    """Return Pearson's correlation; 0 where either is constant."""
    if not np.ptp(answers) or not np.ptp(labels):
        return 0.0 if np.isfinite(answers).all() else float("nan")
    x, y = answers - answers.mean(), labels - labels.mean()
    return float(x @ y / ((x @ x) * (y @ y)) ** 0.5)


def spearman(answers: Float[np.ndarray, " rows"], labels: Float[np.ndarray, " rows"]) -> float:
    """Return Spearman's correlation, ties at their mean rank; 0 where either is constant."""
    return pearson(ranks(answers), ranks(labels))


def ranks(values: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    """Return the rank of each value from 1 on, of equal ones their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Float[np.ndarray, " rows"] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return found


OF_CONFUSION: dict[str, Callable[[Confusion], float]] = {
    "accuracy": accuracy,
    "exact_match": accuracy,
    "f1": f1,
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
    "matthews": matthews,
}
OF_PAIRS: dict[str, Callable[..., float]] = {"pearson": pearson, "spearman": spearman}


def without_confused(
    metric: str, answers: Answers, labels: Answers, classes: int
) -> Float[np.ndarray, " rows"]:
    """Return the metric without each row: one value for each pair of label and answer."""
    counts = confusion(answers, labels, classes)
    found = np.zeros(counts.shape)
    for cell in zip(*np.nonzero(counts), strict=True):
        counts[cell] -= 1
        found[cell] = OF_CONFUSION[metric](counts)
        counts[cell] += 1
    rows: Float[np.ndarray, " rows"] = found[labels.astype(int), answers.astype(int)]
    return rows


def without_pearson(
    answers: Float[np.ndarray, " rows"], labels: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """Return Pearson's correlation without each row, by what the row adds to the centred sums."""
    n = len(labels)
    x, y = answers - answers.mean(), labels - labels.mean()
    xx, yy, xy = (a @ b - n / (n - 1) * a * b for a, b in ((x, x), (y, y), (x, y)))
    # Rounding leaves less than this of a sum of squares that is 0 without the row.
    none = (xx <= 1e-12 * (x @ x)) | (yy <= 1e-12 * (y @ y))
    return np.where(none, 0.0, xy / np.sqrt(np.where(none, 1.0, xx * yy)))


def without_spearman(
    answers: Float[np.ndarray, " rows"], labels: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """Return Spearman's correlation without each row: ranks above it fall by 1, equal ones by ½."""
    sides = [(ranks(values), values) for values in (answers, labels)]
    found = np.empty(len(labels))
    for row in range(len(labels)):
        x, y = (
            np.delete(rank - (values > values[row]) - 0.5 * (values == values[row]), row)
            for rank, values in sides
        )
        found[row] = pearson(x, y)
    return found
