"""What a certificate should say, from the artifact, the base model and the data by other means.

Nothing here is shared with what issues certificates but reading and the task's metric: the weights
are written tensor by tensor, the rows are asked in the order of the data, the message's bits are
counted from the stored arrays, and both bounds are computed in plain Python.
"""

from dataclasses import dataclass
from math import exp, expm1, inf, log, log2, prod, sqrt
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from said_lightning.artifact.coding import Coded, decode
from said_lightning.artifact.header import groups_digest
from said_lightning.config.identity import labels_of
from said_lightning.config.schema import Config
from said_lightning.data.examples import Examples
from said_lightning.data.prompts import prompts_of
from said_lightning.data.readers import read_task
from said_lightning.data.scores import score
from said_lightning.data.task import TaskConfig
from said_lightning.errors import UserError
from said_lightning.models.encoder import load
from said_lightning.projections import build
from said_lightning.runs.certificate import CONFIDENCE, FORMAT, Certificate
from said_lightning.subspace.groups import budget
from said_lightning.subspace.spaces import confine

BATCH = 64
# Two orders of summing in float32 give logits that differ by less.
NEAR = 1e-3


@dataclass(frozen=True)
class Count:
    """Errors on some rows: at least `sure`, at most `possible`; near ties lie between.

    `metric` is the task's, from where near ties are errors to where they are none.
    """

    sure: int
    possible: int
    rows: int
    majority_error: float
    metric: tuple[float, float]


def recompute(
    given: Certificate, config: Config, coded: Coded
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the artifact's header and the certificate should say.

    Two ends where near ties allow several values. What was searched is the certificate's own to
    say here: the rest follows.
    """
    facts = labels_of(config)
    model, tokenizer, model_sha256, _ = load(config.model, config.task, config.seed)
    data = read_task(config.split_task)
    header = write(model, config, coded) | {"model_sha256": model_sha256, "head": []}
    train, dev = (count(model, tokenizer, rows, config.task) for rows in (data.train, data.report))
    epochs = config.trainer.epochs
    header |= {
        "metric.name": config.task.metric,
        "metric.value": dev.metric,
        "metric.epoch": epochs if config.trainer.stop_at is None else (1, epochs),
    }
    return header, {
        **{key: facts[key] for key in ("model", "task", "method", "projection", "seed")},
        "format": FORMAT,
        "d": coded.length,
        "artifact": given.artifact,
        "model_sha256": model_sha256,
        "data_sha256": data.sha256,
        "rows": train.rows,
        "errors": (train.sure, train.possible),
        "majority_error": train.majority_error,
        "dev_rows": dev.rows,
        "dev_errors": (dev.sure, dev.possible),
        "dev_error": given.dev_errors / dev.rows,
        "dev_majority_error": dev.majority_error,
        "levels": len(coded.codebook),
        "message_bits": message_bits(coded),
        "searched": given.searched,
        "confidence": CONFIDENCE,
        "rate": sqrt(coded.length / train.rows),
        **bounded(given, train, message_bits(coded)),
    }


def bounded(given: Certificate, train: Count, message: int) -> dict[str, Any]:
    """Return the bounds that a certificate should hold, and what they rest on."""
    search, error = log2(prod(given.searched.values())), given.errors / train.rows
    catoni, kl = (
        bound(error, train.rows, message + search, 1 - CONFIDENCE)
        for bound in (by_grid, by_bisection)
    )
    return {
        "train_error": error,
        "search_bits": search,
        "catoni": catoni,
        "kl_inverse": kl,
        "bound": min(catoni, kl),
        "vacuous": min(catoni, kl) >= train.majority_error,
    }


@torch.no_grad()
def write(model: PreTrainedModel, config: Config, coded: Coded) -> dict[str, Any]:
    """Add lambda P theta to the weights of a base model that are in the run's space.

    Return what an artifact's header should say of them.
    """
    method = config.method
    confine(model, method.space, method.r)
    groups, D = budget(model, method.name, method.groups, method.head)
    values = torch.from_numpy(decode(coded))
    m = len(groups) if method.name == "said" else 0
    if not m < len(values) == config.d <= D:
        raise UserError(f"artifact: {len(values)} numbers; expected d={config.d}, {m + 1} to {D:,}")
    weights = dict(model.named_parameters())
    inside = {name: weights[name] for tensors in groups.values() for name in tensors}
    sizes = {name: weight.numel() for name, weight in inside.items()}
    kind, options = config.projection.name, config.projection.options
    shapes = {name: tuple(weight.shape) for name, weight in inside.items()}
    projection = build(kind, shapes, config.d - m, config.seed, "torch", **options)
    projection.take(inside)
    theta, scale = values[: config.d - m], values[config.d - m :]
    for index, tensors in enumerate(groups.values()):
        for name in tensors:
            delta = projection.project(scale[index] * theta if m else theta, name)
            weights[name].add_(delta.view_as(weights[name]))
    grouped = {group: sum(map(sizes.__getitem__, tensors)) for group, tensors in groups.items()}
    return {
        "m": m,
        "groups": groups_digest(grouped),
        "fingerprint": projection.fingerprint(),
    }


@torch.no_grad()
def count(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Examples, task: TaskConfig
) -> Count:
    """Count the errors of a model on rows, in their order."""
    device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
    model.eval().to(device)
    texts, parts, prompts = list(rows), [], prompts_of(task, tokenizer)
    for start in range(0, len(texts), BATCH):
        *columns, _ = zip(*texts[start : start + BATCH], strict=True)
        if prompts is not None:
            batch = tokenizer.pad(prompts.encode(tokenizer, columns), return_tensors="pt")
        else:
            batch = tokenizer(
                *map(list, columns),
                truncation=True,
                max_length=task.max_length,
                padding=True,
                return_tensors="pt",
            )
        parts.append(model(**batch.to(device)).logits.cpu())
    logits, right = torch.cat(parts), torch.tensor([row[-1] for row in texts])
    rivals = logits.scatter(1, right[:, None], -inf)
    margin = logits.gather(1, right[:, None]).squeeze(1) - rivals.amax(dim=1)
    low, high = (
        metric(torch.where(margin < near, rivals.argmax(dim=1), right), right, task)
        for near in (NEAR, -NEAR)
    )
    return Count(
        sure=int((margin < -NEAR).sum()),
        possible=int((margin < NEAR).sum()),
        rows=len(texts),
        majority_error=1 - int(right.bincount().max()) / len(texts),
        metric=(low, high),
    )


def metric(answers: Int[Tensor, " rows"], right: Int[Tensor, " rows"], task: TaskConfig) -> float:
    """Return a task's metric of answers to rows."""
    return score(task.metric, answers.numpy(), right.numpy(), task.num_labels)


def message_bits(coded: Coded) -> int:
    """Count the bits of the message by its stored arrays, and its sizes in Elias' gamma code."""
    gammas = sum(
        2 * int(log2(size)) + 1 for size in (coded.length, len(coded.counts), len(coded.words) + 1)
    )
    width = len(f"{coded.length:b}")
    return gammas + width * len(coded.counts) + 8 * (coded.codebook.nbytes + coded.words.nbytes)


def by_bisection(error: float, n: int, bits: float, delta: float) -> float:
    """Return the KL-inverse bound with half of delta, by halving [error, 1] a hundred times."""
    if n < 8:
        return 1.0
    allowed = (bits * log(2) + log(2 * sqrt(n) / (delta / 2))) / n
    low, high = error, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        if _divergence(error, middle) <= allowed:
            low = middle
        else:
            high = middle
    return high


def _divergence(q: float, p: float) -> float:
    terms = ((q, p), (1 - q, 1 - p))
    if any(a > 0 and b <= 0 for a, b in terms):
        return inf
    return sum(a * log(a / b) for a, b in terms if a > 0)


def by_grid(error: float, n: int, bits: float, delta: float) -> float:
    """Return Catoni's bound with half of delta: gamma runs from 1 to 1e9 in 4,000 even steps."""
    best = 1.0
    for alpha in (0.001, 0.01, 0.1):
        for step in range(4001):
            gamma = exp(log(1e9) * step / 4000)
            paid = bits * log(2) + log(3 / (delta / 2)) + 2 * log(2 + log(gamma) / log(1 + alpha))
            q = error + (1 + alpha) * paid / gamma
            if q < 1:
                best = min(best, expm1(-gamma / n * q) / expm1(-gamma / n))
    return best
