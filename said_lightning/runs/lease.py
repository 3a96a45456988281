"""A lease on a run's folder: while its holder lives, no other launcher runs the same job."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

from filelock import SoftFileLease

FILE = ".lease"
# A holder that has not touched its file for this long is taken to be dead; on the holder's own
# machine its process shows it at once.
SECONDS = 60.0


def lease(folder: Path, on_lost: Callable[[object], None] | None = None) -> SoftFileLease:
    """Return the lease on a folder, not yet taken; `on_lost` is called if another takes it over.

    A file that only one can create, touched every third of SECONDS, on any file system.
    """
    return SoftFileLease(folder / FILE, lease_duration=SECONDS, on_compromise=on_lost)


def held(folder: Path) -> bool:
    """Return whether a live launcher holds the lease; needs no right to write.

    A pid alone proves nothing, since another process may have it by now.
    """
    try:
        age = time.time() - (folder / FILE).stat().st_mtime
    except OSError:
        return False
    if age >= SECONDS:
        return False
    owner = lease(folder).owner
    return owner is None or owner.hostname != platform.node() or _alive(owner.pid)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
