"""A certificate judged: recomputed from the artifact, the base model and the data; and in words."""

from dataclasses import asdict
from hashlib import sha256
from math import isclose
from pathlib import Path
from typing import Any

from said_lightning.artifact.coding import Coded
from said_lightning.artifact.file import Artifact
from said_lightning.artifact.file import read as read_artifact
from said_lightning.artifact.header import carried
from said_lightning.certify.recompute import recompute
from said_lightning.config.selection import around, searched, unpaid
from said_lightning.config.stored import read_config
from said_lightning.errors import UserError
from said_lightning.runs.certificate import Certificate, read
from said_lightning.runs.index import CONFIG
from said_lightning.runs.text import line

# Two solvers of the same equation differ by less.
SOLVED = 1e-9


def verify(path: Path, data_dir: str | None = None, sweep: Path | None = None) -> Certificate:
    """Recompute a certificate from the artifact beside it, its base model and its data.

    The run's config lies beside it too; `data_dir` is where the task's files lie, if not there.
    What was searched is counted again below `sweep`, where None in the folder of a sweep that the
    run's lies in, if it does. Raise UserError, with all messages, where anything is not as the
    certificate or its artifact's header says.
    """
    given = read(path)
    file = path.with_name(given.artifact)
    artifact, content = read_artifact(file), file.read_bytes()
    if not isinstance(coded := artifact.numbers, Coded):
        raise UserError(
            f"{file}: not quantised; expected the message that the certificate is about"
        )
    config = read_config(path.parent)
    if carried(config) != artifact.about.config:
        raise UserError(f"{path.with_name(CONFIG)}: not the config of the run in {file}")
    if not config.task.classified:
        raise UserError(f"{path.with_name(CONFIG)}: task.kind: expected classification")
    counts = searched(path.parent, sweep or around(path.parent)) | {"levels": 1}
    config.task.data_dir = data_dir or config.task.data_dir
    header, found = recompute(given, config, coded)
    found |= {"artifact_bytes": len(content), "artifact_sha256": sha256(content).hexdigest()}
    wrong = [f"{path}: {one}: certify again" for one in unpaid(given.searched, counts)]
    wrong += validate_values(path, asdict(given), found)
    wrong += validate_values(file, headed(artifact), header)
    if wrong:
        raise UserError(*wrong)
    return given


def headed(artifact: Artifact) -> dict[str, Any]:
    """Return what an artifact says beside its config and the version that wrote it."""
    about = artifact.about
    given = {key: getattr(about, key) for key in ("m", "groups", "fingerprint", "model_sha256")}
    metric = {f"metric.{key}": value for key, value in asdict(about.metric).items()}
    return given | metric | {"head": sorted(artifact.head)}


def validate_values(path: Path, given: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return a message for each key of a file whose value is not the one that was found."""
    return [
        f"{path}: {key} is {value}; found {_shown(found[key])}"
        for key, value in given.items()
        if not _agree(value, found[key])
    ]


def _agree(given: Any, found: Any) -> bool:
    match found:
        case (low, high):
            return given is not None and low - SOLVED <= given <= high + SOLVED
        case float():
            return isclose(given, found, rel_tol=0, abs_tol=SOLVED)
    return bool(given == found)


def _shown(found: Any) -> str:
    match found:
        case (low, high) if low < high:
            return f"{low} to {high}"
        case (low, _):
            return str(low)
    return str(found)


def verdict(one: Certificate) -> str:
    """Return in words what a certificate bounds, at what price, and where it bounds nothing."""
    said = "VACUOUS: no better than always giving one answer" if one.vacuous else "not vacuous"
    bits, tried = one.message_bits, ", ".join(f"{n} {key}" for key, n in one.searched.items())
    return f"""{line(f"{one.model} {one.task} {one.method}")} d={one.d:,} seed={one.seed}
error <= {one.bound:.2%} with probability {one.confidence:.0%}, for rows drawn as the {one.rows:,} \
training rows were, independently: {said}
  Catoni {one.catoni:.2%}, KL-inverse {one.kl_inverse:.2%}
  in training {one.train_error:.2%}, on {one.dev_rows:,} dev rows {one.dev_error:.2%}
  majority class {one.majority_error:.2%} in training, {one.dev_majority_error:.2%} on the dev rows
  {bits:,} bits of message = {bits / one.d:.2f} for each number, at {one.levels} levels
  {one.search_bits:.1f} bits of selection cost: {line(tried)}
  sqrt(d / m) = {one.rate:.3f}, Theorem 1 without the constants that it leaves open"""
