"""Finding runs: every folder below a path that holds a record, and the state of those not ended."""

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from said_lightning.errors import UserError
from said_lightning.runs.checkpoint import FOLDER, STATE
from said_lightning.runs.lease import FILE, held
from said_lightning.runs.record import RESULT, Record, read

CONFIG = "config.yaml"
LOG = "train.log"
# In the folder of a sweep with on_error=stop, once a run has failed.
STOPPED = ".stopped"
CUT_OFF = "cut off; the same command resumes it"
# How many folders of a hidden one, of git's or of an environment, are looked through for runs.
_HIDDEN = 1000


def find(path: Path) -> tuple[list[Record], list[str]]:
    """Read every run at any depth below `path`, in the order of their folders' names.

    A folder with a `result.json` is a run, and one with a `config.yaml` alone is a run whose record
    is missing. Runs are not looked for inside a run's folder, unless it is `path` itself or cannot
    be read. Behind links, each folder is read once. Hidden folders are passed over.

    Returns:
        The records, and one message for each run that could not be read, each hidden folder that
        holds runs and each link that leads nowhere.

    Raises:
        UserError: `path` is no folder, or no run below it can be read.
    """
    if found := _no_folder(path):
        raise UserError(found)
    walk = _Walk(path)
    records = sorted(walk.records(), key=lambda record: (record.folder or path).parts)
    walk.errors.extend(f"{one}: hidden, so its runs are left out; rename it" for one in walk.hid())
    if not records:
        raise UserError(*walk.errors, f"{path}: no run below it; a run's folder holds a {RESULT}")
    return records, walk.errors


def at(folder: Path) -> Record:
    """Read the run in a folder; one that waits by its record may be running or preempted by now.

    It is running while a launcher holds its lease, and preempted once it was cut off: a launcher
    that is killed leaves its lease, and a run that has begun its state.

    Raises:
        UserError: its record is missing or cannot be read; one message.
    """
    if not os.path.lexists(folder / RESULT) and os.path.lexists(folder / CONFIG):
        raise UserError(
            f"{folder}: a run without its record: expected {RESULT} beside {CONFIG}; "
            "run the same command again"
        )
    record = read(folder / RESULT)
    if record.status != "waiting":
        return record
    if held(folder):
        return replace(record, status="running")
    # A log proves nothing: Hydra opens one for each job.
    if os.path.lexists(folder / FILE) or os.path.lexists(folder / FOLDER / STATE):
        return replace(record, status="preempted", reason=CUT_OFF)
    return record


@dataclass
class _Walk:
    """A search for runs below a folder: what is wrong, and which folders and links it has met."""

    root: Path
    errors: list[str] = field(default_factory=list)
    seen: set[tuple[int, int]] = field(default_factory=set)
    # With each folder behind a link, whether the link lies in a run.
    links: list[tuple[Path, bool]] = field(default_factory=list)
    hidden: list[Path] = field(default_factory=list)

    def records(self) -> Iterator[Record]:
        """Yield every run: first those in the folder itself, then those behind its links."""
        self.links.append((self.root, False))
        while self.links:
            links, self.links = self.links, []
            for link in links:
                yield from self.below(*link)

    def below(self, start: Path, inside: bool) -> Iterator[Record]:
        """Yield every run in a folder or below it; in a run, a config alone is none."""
        stack = [(start, inside)]
        while stack:
            folder, inside = stack.pop()
            names = self.enter(folder)
            if RESULT in names or (
                CONFIG in names and not inside and not os.path.isdir(folder / CONFIG)
            ):
                try:
                    yield at(folder)
                except UserError as error:
                    self.errors.extend(error.messages)
                    inside = folder != self.root
                else:
                    if folder != self.root:
                        continue
                    inside = True
            stack += [(one, inside) for one in reversed(self.inner(folder, names, inside))]

    def enter(self, folder: Path) -> list[str]:
        """Return the sorted names in a folder; none where it was met before or cannot be read."""
        try:
            key = _key(folder)
            if key in self.seen:
                return []
            self.seen.add(key)
            return sorted(os.listdir(folder))
        except OSError as error:
            self.errors.append(f"{folder}: cannot be read: {error.strerror}")
            return []

    def inner(self, folder: Path, names: list[str], inside: bool) -> list[Path]:
        """Return the folders in a folder to look into next; note links and hidden ones."""
        found = []
        for path in (folder / name for name in names):
            link = path.is_symlink()
            if link and not inside and not os.path.exists(path):
                self.errors.append(f"{path}: a link that leads nowhere")
            if not os.path.isdir(path):
                continue
            if path.name.startswith("."):
                self.hidden.append(path)
            elif link:
                self.links.append((path, inside))
            else:
                found.append(path)
        return found

    def hid(self) -> Iterator[Path]:
        """Yield the hidden folders that hold a run which was not met elsewhere."""
        for top in self.hidden:
            for name, _, files in islice(os.walk(top), _HIDDEN):
                if RESULT in files and self.is_new(Path(name)):
                    yield top
                    break

    def is_new(self, folder: Path) -> bool:
        """Return whether a folder is a run that was not met."""
        try:
            read(folder / RESULT)
            return _key(folder) not in self.seen
        except (OSError, UserError):
            return False


def _key(folder: Path) -> tuple[int, int]:
    """Return what identifies a folder, whatever link leads to it."""
    found = folder.stat()
    return found.st_dev, found.st_ino


def _no_folder(path: Path) -> str | None:
    """Return why there is no folder to look into; None where there is one."""
    try:
        os.scandir(path).close()
    except NotADirectoryError:
        return f"{path}: a file; expected a folder with runs below it"
    except FileNotFoundError:
        beside = os.listdir(path.parent) if os.access(path.parent, os.R_OK) else []
        near = difflib.get_close_matches(path.name, beside, n=1)
        meant = f"; did you mean {path.parent / near[0]}?" if near else ""
        return f"{path}: no such folder{meant}"
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"
    return None
