"""A certificate recomputed from the artifact, the base model and the data, by other means.

Nothing here is shared with what issues certificates but reading and the task's metric: the weights
are written tensor by tensor, the rows are asked in the order of the data, the message's bits are
counted from the stored arrays, and both bounds are computed in plain Python.
"""

from dataclasses import asdict, dataclass
from hashlib import sha256
from math import exp, expm1, inf, isclose, log, log2, prod, sqrt
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from said_lightning.artifact.claims import carried, groups_digest
from said_lightning.artifact.coding import Coded, decode
from said_lightning.artifact.file import Artifact
from said_lightning.artifact.file import read as read_artifact
from said_lightning.config.schema import Config, identity, typed
from said_lightning.config.selection import around, searched, unpaid
from said_lightning.config.stored import read_config
from said_lightning.data.examples import Examples
from said_lightning.data.metrics import build_metrics
from said_lightning.data.readers import read_task
from said_lightning.data.task import TaskConfig
from said_lightning.errors import UserError
from said_lightning.models.encoder import load
from said_lightning.projections import build
from said_lightning.runs.certificate import CONFIDENCE, FORMAT, Certificate, read
from said_lightning.runs.index import CONFIG
from said_lightning.subspace.spaces import confine
from said_lightning.subspace.subspace import budget

BATCH = 64
# Two orders of summing in float32 give logits that differ by less.
NEAR = 1e-3
# Two solvers of the same equation differ by less.
SOLVED = 1e-9


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


def verify(path: Path, data_dir: str | None = None, sweep: Path | None = None) -> Certificate:
    """Recomputes a certificate from the artifact beside it, its base model and its data.

    The run's config lies beside it too; `data_dir` is where the task's files lie, if not there.
    What was searched is counted again below `sweep`, where None in the folder of a sweep that the
    run's lies in, if it does. Raises UserError, with all messages, where anything is not as the
    certificate or its artifact's header says.
    """
    told = read(path)
    file = path.with_name(told.artifact)
    artifact, content = read_artifact(file), file.read_bytes()
    if not isinstance(coded := artifact.numbers, Coded):
        raise UserError(f"{file}: not quantised, so no message of so many bits")
    cfg = read_config(path.parent)
    plain: Any = OmegaConf.to_container(cfg)
    if carried(plain) != artifact.about.config:
        raise UserError(f"{path.with_name(CONFIG)}: not the config of the run in {file}")
    if cfg.task.kind != "classification":
        raise UserError(f"{path.with_name(CONFIG)}: task.kind: expected classification")
    counts = searched(path.parent, sweep or around(path.parent)) | {"levels": 1}
    cfg.task.data_dir = data_dir or cfg.task.data_dir
    header, found = recomputed(told, cfg, coded)
    found |= {"artifact_bytes": len(content), "artifact_sha256": sha256(content).hexdigest()}
    wrong = [f"{path}: {one}: certify again" for one in unpaid(told.searched, counts)]
    wrong += differences(path, asdict(told), found)
    wrong += differences(file, headed(artifact), header)
    if wrong:
        raise UserError(*wrong)
    return told


def headed(artifact: Artifact) -> dict[str, Any]:
    """Gives what an artifact says beside its config and the version that wrote it."""
    about = artifact.about
    told = {key: getattr(about, key) for key in ("m", "groups", "fingerprint", "model_sha256")}
    metric = {f"metric.{key}": value for key, value in asdict(about.metric).items()}
    return told | metric | {"head": sorted(artifact.head)}


def differences(path: Path, told: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Tells each key of a file in which it does not say what was found."""
    return [
        f"{path}: {key} is {value}; found {_shown(found[key])}"
        for key, value in told.items()
        if not _agree(value, found[key])
    ]


def _agree(told: Any, found: Any) -> bool:
    match found:
        case (low, high):
            return told is not None and low - SOLVED <= told <= high + SOLVED
        case float():
            return isclose(told, found, rel_tol=0, abs_tol=SOLVED)
    return bool(told == found)


def _shown(found: Any) -> str:
    match found:
        case (low, high) if low < high:
            return f"{low} to {high}"
        case (low, _):
            return str(low)
    return str(found)


def recomputed(
    told: Certificate, cfg: DictConfig, coded: Coded
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Gives what the artifact's header and the certificate should say.

    Two ends where near ties allow several values. What was searched is the
    certificate's own to say here: the rest follows.
    """
    config, facts = typed(cfg), identity(cfg)
    model, tokenizer, model_sha256 = load(config.model, config.task, config.seed)
    data = read_task(config.task)
    header = write(model, config, coded) | {"model_sha256": model_sha256, "head": []}
    train, dev = (count(model, tokenizer, rows, config.task) for rows in (data.train, data.eval))
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
        "artifact": told.artifact,
        "model_sha256": model_sha256,
        "data_sha256": data.sha256,
        "rows": train.rows,
        "errors": (train.sure, train.possible),
        "majority_error": train.majority_error,
        "dev_rows": dev.rows,
        "dev_errors": (dev.sure, dev.possible),
        "dev_error": told.dev_errors / dev.rows,
        "dev_majority_error": dev.majority_error,
        "levels": len(coded.codebook),
        "message_bits": message_bits(coded),
        "searched": told.searched,
        "confidence": CONFIDENCE,
        "rate": sqrt(coded.length / train.rows),
        **bounded(told, train, message_bits(coded)),
    }


def bounded(told: Certificate, train: Count, message: int) -> dict[str, Any]:
    """Gives the bounds that a certificate should tell, and what they rest on."""
    search, error = log2(prod(told.searched.values())), told.errors / train.rows
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
    """Adds lambda P theta to the weights of a base model that are in the run's space.

    Gives what an artifact's header should say of them.
    """
    method, options = config.method, dict(config.projection)
    confine(model, method.space, method.r)
    groups, D = budget(model, method.name, method.groups, method.head)
    values = torch.from_numpy(decode(coded))
    m = len(groups) if method.name == "said" else 0
    if not m < len(values) == config.d <= D:
        raise UserError(f"artifact: {len(values)} numbers; expected d={config.d}, {m + 1} to {D:,}")
    weights = dict(model.named_parameters())
    sizes = {name: weights[name].numel() for tensors in groups.values() for name in tensors}
    name, options["engine"] = options.pop("name"), "torch"
    projection = build(name, sizes, config.d - m, config.seed, **options)
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
    """Counts the errors of a model on rows, in their order."""
    device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
    model.eval().to(device)
    texts, parts = list(rows), []
    for start in range(0, len(texts), BATCH):
        *columns, _ = zip(*texts[start : start + BATCH], strict=True)
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
    """Gives a task's metric of answers to rows."""
    metrics = build_metrics(task)
    metrics.update(answers, right)
    return float(metrics.compute()[task.metric])


def message_bits(coded: Coded) -> int:
    """Counts the bits of the message by its stored arrays, and its sizes in Elias' gamma code."""
    gammas = sum(
        2 * int(log2(size)) + 1 for size in (coded.length, len(coded.counts), len(coded.words) + 1)
    )
    width = len(f"{coded.length:b}")
    return gammas + width * len(coded.counts) + 8 * (coded.codebook.nbytes + coded.words.nbytes)


def by_bisection(error: float, n: int, bits: float, delta: float) -> float:
    """Gives the KL-inverse bound with half of delta, by halving [error, 1] a hundred times."""
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
    """Gives Catoni's bound with half of delta over the same gamma, 1 to 1e9 in 4,000 even steps."""
    best = 1.0
    for alpha in (0.001, 0.01, 0.1):
        for step in range(4001):
            gamma = exp(log(1e9) * step / 4000)
            paid = bits * log(2) + log(3 / (delta / 2)) + 2 * log(2 + log(gamma) / log(1 + alpha))
            q = error + (1 + alpha) * paid / gamma
            if q < 1:
                best = min(best, expm1(-gamma / n * q) / expm1(-gamma / n))
    return best
