"""A lease on a run's folder: while its holder lives, no other launcher runs the same job."""

import os
import platform
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import AcquireReturnProxy, LeaseSettingsMismatch, SoftFileLease, Timeout

FILE = ".lease"
# A holder that has not touched its file for this long is taken to be dead; on the holder's own
# machine its process shows it at once.
SECONDS = 60.0


def lease(folder: Path, on_lost: Callable[[object], None] | None = None) -> SoftFileLease:
    """Return the lease on a folder, not yet taken; `on_lost` is called if another takes it over.

    A file that only one can create, touched every third of SECONDS, on any file system.
    """
    return SoftFileLease(folder / FILE, lease_duration=SECONDS, on_compromise=on_lost)


def acquire(own: SoftFileLease) -> AcquireReturnProxy[SoftFileLease] | None:
    """Take a lease, waiting for a second; None where another launcher holds it.

    One that `held` takes to be nobody's is taken over, whatever its file is.
    """
    _break(own)
    try:
        return own.acquire(timeout=1)
    except (IsADirectoryError, LeaseSettingsMismatch):
        time.sleep(1)  # neither has waited
    except Timeout:
        pass
    return None


def held(folder: Path) -> bool:
    """Return whether a live launcher holds the lease; needs no right to write.

    A pid alone proves nothing, since another process may have it by now.
    """
    try:
        touched = (folder / FILE).lstat().st_mtime
    except OSError:
        return False
    if abs(time.time() - touched) >= SECONDS:
        return False
    owner = lease(folder).owner
    return owner is None or owner.hostname != platform.node() or _alive(owner.pid)


def _break(own: SoftFileLease) -> None:
    """Remove what stands in a lease's place, is nobody's, and is no lease of ours.

    A lease of ours that is nobody's is taken over as it is acquired: by a clock of this machine,
    which no other's has to agree with.
    """
    path = Path(own.lock_file)
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with suppress(FileNotFoundError):
        seen = path.lstat()
        owner = own.owner
        ours = owner is not None and (owner.mode, owner.lease_duration) == ("lease", SECONDS)
        if ours or held(path.parent):
            return
        path.rename(aside)
        found = aside.lstat()
        if (found.st_ino, found.st_mtime_ns) != (seen.st_ino, seen.st_mtime_ns):
            # Another launcher has been quicker, and this is its lease.
            with suppress(FileExistsError):
                path.hardlink_to(aside)
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        else:
            aside.unlink()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
