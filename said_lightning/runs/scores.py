"""The score of each report row of a run: a byte a row in `scores.safetensors`, beside its record.

The order of the rows is the data's, so the scores of two runs on the same data pair row by row.
"""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from said_lightning.errors import UserError
from said_lightning.runs.files import FACTS, read_whole, write_whole
from said_lightning.runs.record import Record, Scores

SCORES = "scores.safetensors"
LEVELS = 256
INDEX, TABLE = "scores", "levels"


def write_scores(folder: Path, values: Float[np.ndarray, " rows"]) -> Scores:
    """Write the scores of a run's report rows, whole; return what its record says of the file.

    More than LEVELS different scores are rounded to as many even ones, up or down so that their
    mean stays.
    """
    levels, index = quantised(values)
    content = safetensors.save({TABLE: levels, INDEX: index})
    write_whole(folder / SCORES, content)
    return Scores(sha256=hashlib.sha256(content).hexdigest(), rows=len(values))


def quantised(
    values: Float[np.ndarray, " rows"],
) -> tuple[Float[np.ndarray, " levels"], UInt8[np.ndarray, " rows"]]:
    """Return at most LEVELS levels, ascending, and the index of each value's."""
    levels, index = np.unique(values, return_inverse=True)
    if len(levels) > LEVELS:
        levels = np.linspace(levels[0], levels[-1], LEVELS)
        steps = (values - levels[0]) / (levels[1] - levels[0])
        # What is rounded off a row is carried to the next one.
        index = np.diff(np.floor(np.cumsum(steps) + 0.5), prepend=0).clip(0, LEVELS - 1)
    return levels, index.astype(np.uint8)


def read_scores(folder: Path, record: Record) -> Float[np.ndarray, " rows"] | None:
    """Return the scores of a run's report rows, in the order of the data; None where it has none.

    Raises:
        UserError: the file is missing, is not the one that the record was written with, or holds
            no scores.
    """
    if record.scores is None:
        return None
    path, again = folder / SCORES, "run the same command in another folder"
    try:
        content = read_whole(path, most=record.scores.rows + FACTS)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; {again}") from None
    if (found := hashlib.sha256(content).hexdigest()) != record.scores.sha256:
        raise UserError(
            f"{path}: sha256 {found:.12}...: expected {record.scores.sha256:.12}..., as when the "
            f"run ended; restore the file, or {again}"
        )
    try:
        tensors = safetensors.load(content)
        levels, index = tensors[TABLE], tensors[INDEX]
        found = f"{levels.dtype} {levels.shape}, {index.dtype} {index.shape}"
        kinds = levels.dtype.kind, str(index.dtype), levels.ndim, index.shape
        if kinds != ("f", "uint8", 1, (record.scores.rows,)) or not np.isfinite(levels).all():
            raise ValueError(
                f"found {found}; expected finite levels and {record.scores.rows:,} bytes"
            )
        scores: Float[np.ndarray, " rows"] = levels[index]
    except (SafetensorError, KeyError, IndexError, ValueError, TypeError) as error:
        raise UserError(f"{path}: no scores of report rows: {error}") from None
    return scores
