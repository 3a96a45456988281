"""Checked examples, and the collector that lets no malformed row pass or vanish."""

import hashlib
import json
import mmap
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped, UInt64

from said_lightning.data.batching import Indices
from said_lightning.data.formats.lines import Read, Row
from said_lightning.data.labels import label_parser, unquoted
from said_lightning.data.task import FileSource, HubSource, TaskConfig
from said_lightning.errors import UserError, suggestion

# Messages about malformed rows of each split; the last one counts the others.
SHOWN = 2

# JSON may escape half of a UTF-16 pair, which is no text and which no tokenizer takes.
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Examples:
    """Rows of a split: one text each, or two; labels are class ids, or scores in regression.

    Where texts are generated the last one is the target.

    The texts lie in an unnamed temporary file, not in memory: a JSON line for each row, [text,
    (text,) label]. `spans` holds each line's start and length in bytes.
    """

    lines: mmap.mmap
    spans: Int[np.ndarray, "rows 2"]
    labels: Shaped[np.ndarray, " rows"]

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[list[Any]]:
        return map(json.loads, self.encoded())

    def encoded(self) -> Iterator[bytes]:
        """Yield each row as its JSON line, without the line end."""
        for start, length in self.spans.tolist():
            yield self.lines[start : start + length]

    def keys(self, salt: str = "") -> UInt64[np.ndarray, " rows"]:
        """Return a number for each row that its content draws; another salt draws others."""
        start = hashlib.sha256(salt.encode() + b"\0" if salt else b"")
        found = np.empty(len(self), np.uint64)
        for row, line in enumerate(self.encoded()):
            digest = start.copy()
            digest.update(line)
            found[row] = int.from_bytes(digest.digest()[:8], "big")
        return found

    def same_rows(self, others: "Examples") -> bool:
        """Return whether others are the same rows, in any order."""
        alike = len(self) == len(others)
        return alike and bool((np.sort(self.keys()) == np.sort(others.keys())).all())

    def take(self, rows: Indices) -> "Examples":
        """Return the rows with these indices, in this order."""
        return Examples(self.lines, self.spans[rows], self.labels[rows])


def sha256(*splits: Examples) -> str:
    """Return the hex digest of the content: each split's JSON lines and an empty one."""
    digest = hashlib.sha256()
    for split in splits:
        for line in split.encoded():
            digest.update(line + b"\n")
        digest.update(b"\n")
    return digest.hexdigest()


@dataclass
class Collector:
    """A split's rows as they are read, each checked, and a message for each mistake.

    `place` is what the message about an empty split names; `expected` is the official row count,
    None if free.
    """

    task: TaskConfig
    source: HubSource | FileSource
    place: str
    expected: int | None
    unread: bool = False
    mistakes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parse: Callable[[str], int | float] = label_parser(self.task, self.source)
        self.columns = (*self.source.text, self.source.label)
        self.lines = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the rows
        self.lengths: list[int] = []
        self.labels: list[int | float] = []

    def has_columns(
        self, where: str, columns: Sequence[str], wrong: str | None = None, hint: str = ""
    ) -> bool:
        """Return whether each of the source's columns is there exactly once; note it where not.

        `wrong` is what is known to be wrong with the header already, `hint` how to mend it.
        """
        if wrong:
            self.give_up(f"{where}: {wrong}")
            return False
        if all(columns.count(column) == 1 for column in self.columns):
            return True
        expected, found = (", ".join(map(repr, names)) for names in (self.columns, columns))
        found = found if len(found) <= 120 else f"{found[:117]}..."
        expected = f"expected a header with {expected} once each, found {found}"
        self.give_up(f"{where}: {expected}{hint or self._nearest(columns)}")
        return False

    def _nearest(self, columns: Sequence[str]) -> str:
        """Return the end of a message: what the columns that are missing may be called."""
        missing = [column for column in self.columns if column not in columns]
        near = [suggestion(column, columns) for column in missing]
        near = [one for one in near if one.startswith("; did")]
        headless = isinstance(self.source, FileSource) and len(missing) == len(self.columns)
        if headless and not near:
            near = ["; is there no header? task.files.columns names the columns"]
        return "".join(near) + unquoted(missing)

    def give_up(self, message: str) -> None:
        """Note why rows are left unread, so that nobody counts them."""
        self.mistakes.append(message)
        self.unread = True

    def add_all(self, rows: Iterable[Read]) -> None:
        """Keep each row, or note what is wrong with it; compare their number with the official."""
        where, count = self.place, 0
        for where, row in rows:
            count += 1
            if isinstance(row, str):
                self.mistakes.append(f"{where}: {row}")
                continue
            try:
                texts, label = self._checked(row)
            except ValueError as error:
                self.mistakes.append(f"{where}: {error}")
                continue
            self.lengths.append(self.lines.write(json.dumps([*texts, label]).encode()))
            self.labels.append(label)
        if not self.unread and (not count or self.expected not in (None, count)):
            expected = f"{self.expected} (task.rows)" if self.expected else "at least one"
            self.mistakes.insert(0, f"{where}: ends after {count} rows, expected {expected}")

    def _checked(self, row: Row) -> tuple[list[str], int | float]:
        *texts, written = [self._cell(row, column) for column in self.columns]
        if self.task.kind == "generate":
            texts.append(written)
        for column, text in zip(self.columns, texts, strict=False):
            if not text.strip():
                raise ValueError(f"column {column!r} is empty, expected text")
            if not text.isascii() and SURROGATE.search(text):
                raise ValueError(f"column {column!r} holds half a character, expected text")
        if not written.strip():
            raise ValueError(f"column {self.source.label!r} is empty, expected a label")
        try:
            return texts, self.parse(written)
        except ValueError as error:
            raise ValueError(f"column {self.source.label!r}: {error}") from None

    def _cell(self, row: Row, column: str) -> str:
        if column not in row:
            raise ValueError(f"expected {column!r} once{suggestion(column, row)}")
        cell = row[column]
        if cell is None:
            raise ValueError(f"column {column!r}: expected text or a number")
        return cell

    def messages(self) -> list[str]:
        """Return the first messages, and the number of those left out."""
        shown, more = self.mistakes[: SHOWN + 1], len(self.mistakes) - SHOWN - 1
        return [*shown[:-1], f"{shown[-1]}; and {more} more such problems"] if more > 0 else shown

    def examples(self) -> Examples:
        """Return the rows kept."""
        self.lines.flush()
        with self.lines:
            lines = mmap.mmap(self.lines.fileno(), 0, access=mmap.ACCESS_READ)
        lengths = np.array(self.lengths, np.int64)
        spans = np.stack([np.cumsum(lengths) - lengths, lengths], axis=1)
        return Examples(lines, spans, np.array(self.labels))


def gather(*splits: Collector) -> list[Examples]:
    """Return the splits' rows, or raise a UserError with the messages of all."""
    if messages := [message for split in splits for message in split.messages()]:
        for split in splits:
            split.lines.close()
        raise UserError(*messages)
    return [split.examples() for split in splits]
