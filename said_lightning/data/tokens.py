"""Tokenised examples, without padding, in memory-mapped files that jobs share.

They are cached under the hash of the data, of the tokenizer, and the length: whoever comes first
tokenises, whoever comes meanwhile waits, and a folder is put in its place whole or not at all.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from said_lightning.data.batching import Indices
from said_lightning.data.examples import Examples, sha256
from said_lightning.data.prompts import Prompts
from said_lightning.errors import UserError

log = logging.getLogger(__name__)

# Rows handed to the tokenizer at once, so that its Python lists stay small.
CHUNK = 2048
# What a tokenizer saves of its last call, and of where it came from.
PASSING = {"truncation", "padding", "is_local", "local_files_only", "name_or_path"}


@dataclass(frozen=True)
class Encoded(Dataset[list[dict[str, Any]]]):
    """A split as tokens: row i of each field is `field[starts[i]:starts[i + 1]]`.

    It is indexed by a whole batch of row numbers and gives what a tokenizer's `pad` takes.
    """

    fields: Mapping[str, NDArray[np.int32]]
    starts: NDArray[np.int64]
    labels: NDArray[Any]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each row, special tokens included."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Indices) -> list[dict[str, Any]]:
        return [
            {
                **{
                    name: flat[self.starts[i] : self.starts[i + 1]].tolist()
                    for name, flat in self.fields.items()
                },
                "labels": self.labels[i].item(),
            }
            for i in rows
        ]


def encode(
    examples: Examples,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    prompts: Prompts | None = None,
) -> Encoded:
    """Tokenise all rows, pairs as pairs, cut to at most `max_length` tokens, or find them cached.

    With `prompts` a row is its prompt. Raise UserError where the cache cannot be written.
    """
    asked = f" {prompts.template} {prompts.answers}" if prompts else ""
    key = f"{sha256(examples)} {tokenizer_sha256(tokenizer)} {max_length}{asked}"
    folder = cache() / hashlib.sha256(key.encode()).hexdigest()[:32]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A job that dies gives the lock back, and leaves a folder whose name is no key.
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                part = folder.with_suffix(".part")
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
                _tokenise(examples, tokenizer, max_length, prompts, part)
                part.rename(folder)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: no tokens can be kept here: {error.strerror}; "
            "another folder can be given with the environment variable SAID_CACHE"
        ) from error
    names = [path.stem for path in sorted(folder.glob("*.int32"))]
    fields = {name: np.memmap(folder / f"{name}.int32", np.int32, "r") for name in names}
    return Encoded(fields, np.load(folder / "starts.npy"), examples.labels)


def cache() -> Path:
    """Return the folder of all tokenised data: $SAID_CACHE, or ~/.cache/said_lightning."""
    return Path(os.environ.get("SAID_CACHE", "~/.cache/said_lightning")).expanduser() / "tokens"


def tokenizer_sha256(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the hex digest of all files that would be saved of a tokenizer."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        for path in sorted(Path(folder).iterdir()):
            content = path.read_bytes()
            if path.suffix == ".json":
                kept = {k: v for k, v in json.loads(content).items() if k not in PASSING}
                content = json.dumps(kept, sort_keys=True).encode()
            digest.update(path.name.encode() + b"\0" + content)
    return digest.hexdigest()


def _tokenise(
    examples: Examples,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    prompts: Prompts | None,
    folder: Path,
) -> None:
    """Write each field's tokens of all rows to `folder`, and where each row starts."""
    log.info("tokenising %d rows", len(examples))
    names = [name for name in tokenizer.model_input_names if name != "attention_mask"]
    if prompts:
        names = ["input_ids"] if prompts.answers else ["input_ids", "token_type_ids"]
    files = {name: (folder / f"{name}.int32").open("wb") for name in names}
    lengths = [0]
    for rows in _chunks(examples):
        *texts, _ = zip(*rows, strict=True)
        if prompts:
            tokens: Any = prompts.encode(tokenizer, texts)
        else:
            tokens = tokenizer(*map(list, texts), truncation=True, max_length=max_length)
        for name, file in files.items():
            np.fromiter(chain.from_iterable(tokens[name]), np.int32).tofile(file)
        lengths += map(len, tokens["input_ids"])
    np.save(folder / "starts.npy", np.cumsum(lengths))
    for file in files.values():
        file.close()


def _chunks(examples: Examples) -> Iterator[list[list[Any]]]:
    rows = iter(examples)
    while chunk := list(islice(rows, CHUNK)):
        yield chunk
