"""What a certified run leaves behind: `certificate.json`, beside the artifact that it is about."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter

from said_lightning.runs.files import write_whole
from said_lightning.runs.record import Count, Positive, read_facts

FORMAT = 1
CONFIDENCE = 0.95
CERTIFICATE = "certificate.json"

Beside = Annotated[str, Field(pattern=r"^[\w-]+\.safetensors$")]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """The error of a quantised run is at most `bound` with probability `confidence`.

    Errors are counted on all `rows` training rows and, observed beside, on the dev rows; the
    majority's are those of the best constant answer to either. The message of `message_bits` is
    the d numbers of the `artifact` beside it; `search_bits` is log2 of the product of `searched`,
    how many values of each thing were tried. `rate` is sqrt(d / rows), Theorem 1 without constants.
    `vacuous` says that the bound is no better than the majority's training error.
    """

    format: int = FORMAT
    model: str
    task: str
    method: str
    projection: str
    d: Positive
    seed: Count
    artifact: Beside
    artifact_bytes: Positive
    artifact_sha256: str
    model_sha256: str
    data_sha256: str
    rows: Positive
    errors: Count
    train_error: Share
    majority_error: Share
    dev_rows: Positive
    dev_errors: Count
    dev_error: Share
    dev_majority_error: Share
    levels: Positive
    message_bits: Positive
    searched: dict[str, Positive]
    search_bits: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    catoni: Share
    kl_inverse: Share
    bound: Share
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    vacuous: bool

    __pydantic_config__ = ConfigDict(extra="forbid")


_CERTIFICATE = TypeAdapter(Certificate)


def write(certificate: Certificate, folder: Path) -> None:
    """Write `folder/certificate.json`, whole or not at all."""
    text = _CERTIFICATE.dump_json(certificate, indent=2, warnings="error")
    write_whole(folder / CERTIFICATE, text, b"\n")


def read(path: Path) -> Certificate:
    """Read a certificate; only its form is checked.

    Raises:
        UserError: it cannot be read, is none, or is of a newer format; one message.
    """
    return read_facts(_CERTIFICATE.validate_json, path, FORMAT, "certificate")
