"""From a finished run to its certificate: quantise, fine-tune, count errors, bound."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from math import log2, prod
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, open_dict

from said_lightning.artifact.export import from_run
from said_lightning.artifact.file import Artifact, pack
from said_lightning.artifact.score import score
from said_lightning.certify import bounds
from said_lightning.certify.quantise import lloyd, quantise
from said_lightning.certify.rebuilt import Rebuilt, rebuild
from said_lightning.certify.searched import searched
from said_lightning.certify.tune import tune
from said_lightning.coding import Coded, bits, decode
from said_lightning.config import typed
from said_lightning.errors import UserError
from said_lightning.kept import read_config
from said_lightning.runs import certificate as certificates
from said_lightning.runs import record as records
from said_lightning.runs.certificate import Certificate
from said_lightning.runs.files import write_whole
from said_lightning.runs.record import Record

log = logging.getLogger(__name__)

CONFIDENCE = 0.95
ARTIFACT = "quantised.safetensors"


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


def certify(folder: Path, levels: Sequence[int], epochs: int, sweep: Path) -> Certificate:
    """Quantises a run to each number of levels, and certifies the one with the lowest bound.

    `epochs` of fine-tuning follow each quantisation. Every run on the task below `sweep` counts as
    one that could have been chosen, and so does every number of levels, those of an earlier
    certificate of this run too. Leaves the artifact and `certificate.json` in the run's folder.

    Raises UserError, with all messages, where the run is not done, classifies nothing, has numbers
    that the message would not hold, or where its model or data are others than they were.
    """
    cfg, record = finished(folder)
    earlier = folder / certificates.CERTIFICATE
    before = certificates.read(earlier).searched["levels"] if earlier.exists() else 0
    counts = searched(folder, sweep) | {"levels": len(levels) + before}
    artifact = from_run(folder)
    run = rebuild(cfg, record, artifact)
    found = [candidate(cfg, run, number, epochs, counts) for number in levels]
    best = min(found, key=lambda one: one.bound)
    run.hold(decode(best.coded))
    task, rows = typed(cfg).task, cfg.trainer.eval_batch_size
    value = score(run.model.eval(), run.tokenizer, task, rows)
    about = replace(artifact.about, metric=replace(artifact.about.metric, value=value))
    content = pack(Artifact(about, best.coded))
    write_whole(folder / ARTIFACT, content)
    certificate = state(run, record, best, counts, content)
    certificates.write(certificate, folder)
    return certificate


def finished(folder: Path) -> tuple[DictConfig, Record]:
    """Gives the config to rebuild a run with, and its record; raises UserError as `certify`."""
    record = records.read(folder / records.RESULT)
    cfg = read_config(folder)
    wrong = []
    if record.status != "done":
        wrong.append(f"{folder}: status {record.status}; expected a run that is done")
    if cfg.task.kind != "classification":
        wrong.append(
            f"{folder}: task {cfg.task.name} predicts scores; only the error of a classifier, "
            "which is 0 or 1 on each row, is bounded"
        )
    if record.method == "full":
        wrong.append(
            f"{folder}: full fine-tuning; expected method said or did, whose d numbers fit"
        )
    if record.outside:
        wrong.append(
            f"{folder}: {record.outside:,} numbers of the head are outside the subspace and "
            "would not be in the message; expected method.head=inside"
        )
    if wrong:
        raise UserError(*wrong)
    with open_dict(cfg):
        cfg.method.origin = "copy"
        cfg.trainer.devices = 1
        cfg.trainer.precision = "32-true"
        cfg.logger.name = "none"
        cfg.lr = record.lr
    return cfg, record


def candidate(
    cfg: DictConfig, run: Rebuilt, levels: int, epochs: int, counts: dict[str, int]
) -> Candidate:
    """Quantises a run to so many levels at most, and bounds its error."""
    codebook = lloyd(run.values, levels)
    coded = quantise(run.values, codebook)
    if epochs:
        coded = tune(cfg, run, codebook, epochs)
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
    """Gives the certificate of the candidate that the run's model holds."""
    n, dev = len(run.data.train_set), run.data.eval_sets[0]
    dev_errors = run.errors(dev)
    majority, dev_majority = majority_error(run.data.train_set.labels), majority_error(dev.labels)
    return Certificate(
        model=record.model,
        task=record.task,
        method=record.method,
        projection=str(record.projection),
        d=best.coded.length,
        seed=record.seed,
        artifact=ARTIFACT,
        artifact_bytes=len(content),
        artifact_sha256=sha256(content).hexdigest(),
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
    """Gives the error of the best constant answer to some rows."""
    return 1 - int(np.bincount(labels).max()) / len(labels)
