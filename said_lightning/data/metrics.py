"""A task's official metrics, and the score that a constant answer gets for nothing."""

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    BinaryF1Score,
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassMatthewsCorrCoef,
)
from torchmetrics.utilities import dim_zero_cat

from said_lightning.data.scores import score
from said_lightning.data.task import TaskConfig


class Correlation(Metric):
    """A correlation of all answers with all labels, NaN where an answer is not finite.

    torchmetrics' own are NaN too where the answers' variance is small, and Spearman's ranks NaN.
    """

    full_state_update = False
    answers: list[Tensor]
    labels: list[Tensor]

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.add_state("answers", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, answers: Float[Tensor, " batch"], labels: Float[Tensor, " batch"]) -> None:
        """Keep a batch's answers and labels."""
        self.answers.append(answers)
        self.labels.append(labels)

    def compute(self) -> Float[Tensor, ""]:
        """Return the correlation over all batches; 0 where either side is constant."""
        answers, labels = (dim_zero_cat(part).double() for part in (self.answers, self.labels))
        if not answers.isfinite().all():
            return answers.new_tensor(torch.nan)
        return answers.new_tensor(score(self.name, answers.cpu().numpy(), labels.cpu().numpy(), 1))


# With two classes torchmetrics scores a constant prediction up to 0.002 instead of 0; a third,
# empty class takes its exact path and changes nothing else.
BUILDERS: dict[str, Callable[[int], Metric]] = {
    "accuracy": lambda classes: MulticlassAccuracy(classes, average="micro"),
    "exact_match": lambda classes: MulticlassAccuracy(classes, average="micro"),
    "f1": lambda classes: BinaryF1Score(),
    "macro_f1": lambda classes: MulticlassF1Score(classes, average="macro"),
    "weighted_f1": lambda classes: MulticlassF1Score(classes, average="weighted"),
    "matthews": lambda classes: MulticlassMatthewsCorrCoef(max(classes, 3)),
    "pearson": lambda classes: Correlation("pearson"),
    "spearman": lambda classes: Correlation("spearman"),
}


def build_metrics(task: TaskConfig) -> MetricCollection:
    """Return the task's metrics by name; update them with `predictions(logits)` and the labels."""
    return MetricCollection({name: BUILDERS[name](task.num_labels) for name in task.metrics})


def predictions(logits: Float[Tensor, "batch outputs"]) -> Shaped[Tensor, " batch"]:
    """Return class ids, or scores where there is a single output, as for regression."""
    return logits.squeeze(1) if logits.shape[1] == 1 else logits.argmax(1)


def trivial_score(metric: str, labels: Sequence[int | float]) -> float:
    """Return the best score of any constant answer to the labels of an evaluation split.

    Accuracy, macro and weighted F1: the majority class. F1: always answering 1. A correlation,
    Matthews included: 0.
    """
    counts = Counter(labels)
    rows, most = len(labels), max(counts.values())
    scores = {
        "accuracy": most / rows,
        "f1": 2 * counts[1] / (rows + counts[1]),
        "macro_f1": 2 * most / (rows + most) / len(counts),
        "weighted_f1": 2 * most / (rows + most) * most / rows,
    }
    return scores.get(metric, 0.0)
