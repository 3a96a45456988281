"""Files that are whole or not there: written beside their place, synced, renamed; and read back."""

import errno
import os
import shutil
import stat
from io import FileIO
from pathlib import Path
from typing import Literal

Bytes = bytes | bytearray | memoryview

# No file of facts that a run leaves comes near it.
FACTS = 2**22


def open_whole(path: Path, most: int | None = FACTS) -> FileIO:
    """Open a file that a run left, of at most `most` bytes, to read; None is any number of them.

    Raises:
        OSError: it cannot be read, is longer, or is no file at all: a device never ends, and a pipe
            would wait for a writer.
    """
    file = FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    found = os.fstat(file.fileno())
    if stat.S_ISREG(found.st_mode) and (most is None or found.st_size <= most):
        return file
    file.close()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "neither a file nor a folder; expected a file", str(path))
    what = f"{found.st_size:,} bytes; expected at most {most:,}"
    raise OSError(errno.EFBIG, what, str(path))


def read_whole(path: Path, most: int | None = FACTS) -> bytes:
    """Return the bytes of a file that a run left; raise OSError as `open_whole` does."""
    with open_whole(path, most) as file:
        return file.read()


def write_whole(path: Path, *parts: Bytes, alone: bool = False) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: it cannot be written; an older file then stands untouched. With `alone`,
            FileExistsError where another process is writing the same file.
    """
    write_beside(path, *parts, mode="xb" if alone else "wb").replace(path)
    sync_folder(path.parent)


def write_beside(path: Path, *parts: Bytes, mode: Literal["wb", "xb"] = "wb") -> Path:
    """Write and sync a file's next content under a temporary name, and return that name.

    Raises:
        OSError: it cannot be written, or a folder is in its place; nothing is left behind.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # In the same folder, since a rename is atomic only within a file system; and under one fixed
    # name, so that a run that is killed here leaves no more than one stray file. It is hidden and
    # holds the whole name, so that it is nobody else's.
    temporary = path.with_name(f".{path.name}.tmp")
    file = temporary.open(mode, buffering=0)
    try:
        with file:
            for part in parts:
                rest = memoryview(part)
                while rest:
                    rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last through a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what a run that was killed while it wrote has left in its folder."""
    for stray in list(folder.rglob("*.tmp")):
        if stray.is_dir() and not stray.is_symlink():  # of a whole model
            shutil.rmtree(stray)
        else:
            stray.unlink(missing_ok=True)
