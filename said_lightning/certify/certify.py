"""From a finished run to its certificate: quantise, fine-tune, count errors, bound."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from math import log2, prod
from pathlib import Path

import numpy as np

from said_lightning.artifact.coding import Coded, bits, decode
from said_lightning.artifact.export import from_run
from said_lightning.artifact.file import Artifact, pack
from said_lightning.artifact.file import read as read_artifact
from said_lightning.artifact.load import score
from said_lightning.certify import bounds
from said_lightning.certify.quantise import lloyd, quantise, tune
from said_lightning.certify.rebuilt import Rebuilt, rebuild
from said_lightning.config.schema import Config
from said_lightning.config.selection import around, searched
from said_lightning.config.stored import read_config
from said_lightning.errors import UserError, validate_installed
from said_lightning.runs import certificate as certificates
from said_lightning.runs import record as records
from said_lightning.runs.certificate import CONFIDENCE, Certificate
from said_lightning.runs.files import write_whole
from said_lightning.runs.record import Record

log = logging.getLogger(__name__)

# An artifact goes by its content, so that a new one leaves an earlier certificate its own.
ARTIFACT = "quantised-{}.safetensors"
ANY = ARTIFACT.format("[0-9a-f]" * 8)


@dataclass(frozen=True)
class Candidate:
    """A quantised run: its message, its errors on the training rows, Catoni's and KL's bounds."""

    coded: Coded
    errors: int
    catoni: float
    kl_inverse: float

    @property
    def bound(self) -> float:
        """The better of the two bounds, which hold together."""
        return min(self.catoni, self.kl_inverse)


def certify(
    folder: Path, levels: Sequence[int], epochs: int, sweep: Path | None = None
) -> Certificate:
    """Quantise a run to each number of levels, and certify the message with the lowest bound.

    `epochs` of fine-tuning follow each quantisation. Every run on the task below `sweep` (where
    None, the folder that the run's own lies in) counts as one that could have been chosen, and so
    does every number of levels, those of an earlier certificate of this run too, whose message
    competes. Leaves the artifact and `certificate.json` in the run's folder.

    Raise UserError, with all messages, where the run is not done, classifies nothing, has numbers
    that the message would not hold, or where its model or data are others than they were.
    """
    config, record = finished(folder)
    if (sweep := sweep or around(folder)) is None:
        raise UserError(
            f"{folder}: not MODEL/TASK/RUN in the folder of a sweep; expected --sweep FOLDER, "
            "which holds every run that was tried"
        )
    before, kept = earlier(folder, config.d)
    counts = searched(folder, sweep) | {"levels": len(levels) + before}
    artifact = from_run(folder)
    run = rebuild(config, record, artifact)
    messages = chain(kept, (message(config, run, number, epochs) for number in levels))
    best = min((candidate(run, coded, counts) for coded in messages), key=lambda one: one.bound)
    run.hold(decode(best.coded))
    rows = config.trainer.eval_batch_size
    value = score(run.model.eval(), run.tokenizer, config.split_task, rows)
    content = pack(Artifact(artifact.scored(value).about, best.coded))
    certificate = state(run, record, best, counts, content)
    leave(folder, content, certificate)
    return certificate


def earlier(folder: Path, d: int) -> tuple[int, list[Coded]]:
    """Return the levels that a run's earlier certificate tried, and its message of d numbers."""
    path = folder / certificates.CERTIFICATE
    if not path.exists():
        return 0, []
    before = certificates.read(path)
    try:
        coded = read_artifact(folder / before.artifact).numbers
    except UserError as error:
        log.warning("%s; its message cannot be kept", error)
        coded = None
    kept = [coded] if isinstance(coded, Coded) and coded.length == d else []
    return before.searched.get("levels", 0), kept


def leave(folder: Path, content: bytes, certificate: Certificate) -> None:
    """Write an artifact, then its certificate, then remove others; a pair is whole throughout."""
    try:
        write_whole(folder / certificate.artifact, content)
        certificates.write(certificate, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
    for path in folder.glob(ANY):
        if path.name != certificate.artifact:
            path.unlink()


def finished(folder: Path) -> tuple[Config, Record]:
    """Return the config to rebuild a run with, and its record; raise UserError as `certify`."""
    record = records.read(folder / records.RESULT)
    config = read_config(folder)
    found = validate_installed("constriction", "certify", "a certificate")
    found += validate_installed("scipy", "certify", "a certificate")
    if found := found + validate_run(folder, config, record):
        raise UserError(*found)
    config.method.origin = "copy"
    config.trainer.devices = 1
    config.trainer.precision = "32-true"
    config.logger.name = "none"
    config.lr = record.lr
    return config, record


def validate_run(folder: Path, config: Config, record: Record) -> list[str]:
    """Return what keeps a run from having a certificate."""
    found = []
    if record.status != "done":
        found.append(f"{folder}: status {record.status}; expected a run that is done")
    if not config.task.classified:
        found.append(
            f"{folder}: task {config.task.name} does not classify; only the error of a classifier, "
            "which is 0 or 1 on each row, is bounded"
        )
    if record.method not in ("said", "did"):
        found.append(f"{folder}: method {record.method}; expected said or did, whose d numbers fit")
    if config.method.quantize:
        found.append(
            f"{folder}: method.quantize={config.method.quantize}; expected null, since what such "
            "layers give depends on the machine"
        )
    if record.outside:
        found.append(
            f"{folder}: {record.outside:,} numbers of the head are outside the subspace and "
            "would not be in the message; expected method.head=inside"
        )
    return found


def message(config: Config, run: Rebuilt, levels: int, epochs: int) -> Coded:
    """Quantise a run to `levels` levels at most, and fine-tune it for some epochs."""
    codebook = lloyd(run.values, levels)
    return tune(config, run, codebook, epochs) if epochs else quantise(run.values, codebook)


def candidate(run: Rebuilt, coded: Coded, counts: dict[str, int]) -> Candidate:
    """Bound the error of a quantised run."""
    run.hold(decode(coded))
    errors = run.errors(run.data.train_set)
    n = len(run.data.train_set)
    length = bits(coded) + log2(prod(counts.values()))
    one = Candidate(coded, errors, *bounds.certified(errors / n, n, length, 1 - CONFIDENCE))
    log.info(
        "%d levels: %d bits, train error %.4f, bound %.4f",
        *(len(coded.codebook), bits(coded), errors / n, one.bound),
    )
    return one


def state(
    run: Rebuilt, record: Record, best: Candidate, counts: dict[str, int], content: bytes
) -> Certificate:
    """Return the certificate of the candidate that the run's model holds."""
    n, dev = len(run.data.train_set), run.data.report_sets[0]
    dev_errors = run.errors(dev)
    digest = sha256(content).hexdigest()
    majority, dev_majority = majority_error(run.data.train_set.labels), majority_error(dev.labels)
    return Certificate(
        model=record.model,
        task=record.task,
        method=record.method,
        projection=str(record.projection),
        d=best.coded.length,
        seed=record.seed,
        artifact=ARTIFACT.format(digest[:8]),
        artifact_bytes=len(content),
        artifact_sha256=digest,
        model_sha256=str(record.model_sha256),
        data_sha256=str(record.data_sha256),
        rows=n,
        errors=best.errors,
        train_error=best.errors / n,
        majority_error=majority,
        dev_rows=len(dev),
        dev_errors=dev_errors,
        dev_error=dev_errors / len(dev),
        dev_majority_error=dev_majority,
        levels=len(best.coded.codebook),
        message_bits=bits(best.coded),
        searched=counts,
        search_bits=log2(prod(counts.values())),
        confidence=CONFIDENCE,
        catoni=best.catoni,
        kl_inverse=best.kl_inverse,
        bound=best.bound,
        rate=bounds.rate(best.coded.length, n),
        vacuous=best.bound >= majority,
    )


def majority_error(labels: np.ndarray) -> float:
    """Return the error of the best constant answer to some rows."""
    return 1 - int(np.bincount(labels).max()) / len(labels)
