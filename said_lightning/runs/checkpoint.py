"""The state of a run under way: two generations of one safetensors file, each with its checksum.

The checksum (BLAKE2b, 32 bytes) stands in the file's own metadata and covers every byte, itself
read as zeros; so a file is one rename, and any flipped, cut or added byte is found. Needs no torch.
"""

import hashlib
import json
import logging
import os
import re
from pathlib import Path
from typing import Any

from said_lightning.errors import UserError
from said_lightning.runs.files import Bytes, open_whole, read_whole, write_beside

log = logging.getLogger(__name__)

FOLDER = "checkpoint"
NUMBERS = "subspace.safetensors"  # theta, lambda and a head outside, of a run that is done
STATE, PREVIOUS = "state.safetensors", "state.previous.safetensors"
# What a writer puts into the metadata for `save` to fill.
KEY, UNSEALED = "blake2b", "0" * 64
_HEADER = 2**26  # bytes, more than any state's
# As an entry of the metadata, or inside one that is JSON itself.
_SEAL = re.compile(rb'"blake2b\\?":\\?"([0-9a-f]{64})')


def save(folder: Path, *parts: Bytes) -> None:
    """Seal the parts of a safetensors file, of which the first holds the header and in its metadata
    `KEY: UNSEALED`, and leave it as the newest generation.

    Raises:
        OSError: it cannot be written; then the generations before stand untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = write_beside(folder / STATE, *sealed(*parts))
    if (folder / STATE).exists():
        (folder / STATE).replace(folder / PREVIOUS)
    # The folder is not synced: losing power may bring back the names before, which are good too.
    temporary.replace(folder / STATE)


def latest(folder: Path) -> Path | None:
    """Return the newest generation that is whole; warn of a broken one."""
    for path in (folder / STATE, folder / PREVIOUS):
        if os.path.lexists(path):
            try:
                read(path)
            except UserError as error:
                log.warning("%s", error)
            else:
                return path
    return None


def read(path: Path) -> bytes:
    """Read a generation's content.

    Raises:
        UserError: it cannot be read, or its checksum is not right; one message.
    """
    try:
        content = read_whole(path, most=None)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if not intact(content):
        raise UserError(f"{path}: a broken checkpoint, not used: its checksum is wrong")
    return content


def sealed(first: Bytes, *rest: Bytes) -> list[Bytes]:
    """Return the parts of a safetensors file with its checksum in place of UNSEALED; copy none."""
    start, end = _place(first)
    first = memoryview(first)
    return [first[:start], _digest(start, end, first, *rest).encode(), first[end:], *rest]


def intact(content: bytes) -> bool:
    """Return whether a file's checksum is right."""
    try:
        start, end = _place(content)
    except ValueError:
        return False
    return content[start:end].decode() == _digest(start, end, content)


def progress(folder: Path) -> tuple[int, int]:
    """Return the steps done at the newest generation and those of the whole run.

    Only the header is read.

    Raises:
        OSError, ValueError: there is none, or it is broken.
    """
    with open_whole(folder / STATE, most=None) as file:
        length = file.read(8)
        header = length + file.read(min(int.from_bytes(length, "little"), _HEADER))
    try:
        step, steps = json.loads(metadata(header)["progress"])
    except (KeyError, TypeError, RecursionError):
        raise ValueError("no progress in it") from None
    if not (isinstance(step, int) and isinstance(steps, int) and 0 <= step <= steps > 0):
        raise ValueError(f"{step!r} of {steps!r} is no progress")
    return step, steps


def metadata(content: bytes) -> dict[str, Any]:
    """Return the metadata of a safetensors file, texts by name."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    found: dict[str, Any] = header["__metadata__"]
    return found


def remove(folder: Path) -> None:
    """Remove every generation, once a run has ended."""
    for name in (STATE, PREVIOUS):
        (folder / name).unlink(missing_ok=True)


def _place(content: Bytes) -> tuple[int, int]:
    """Find where the checksum stands."""
    header = min(8 + int.from_bytes(content[:8], "little"), len(content))
    found = _SEAL.search(content, 8, header)
    if found is None:
        raise ValueError("no checksum")
    return found.span(1)


def _digest(start: int, end: int, first: Bytes, *rest: Bytes) -> str:
    digest = hashlib.blake2b(digest_size=32)
    first = memoryview(first)
    for part in (first[:start], UNSEALED.encode(), first[end:], *rest):
        digest.update(part)
    return digest.hexdigest()
