"""Requests to stop, noted in a flag that is read where stopping is safe; and orphaned workers."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

# What Slurm sends before it preempts, what submitit asks it to send before the time is up, Ctrl-C.
ASKING = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)


class Preempted(Exception):  # noqa: N818 - no error
    """A run was asked to stop, and has saved where it was; `signum` asked it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Asked:
    """The signal that asked to stop (None: none), and the handlers it would have gone to."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self.before: dict[int, Any] = {}

    def look(self) -> int | None:
        """Return the signal that has come; SIGTERM for a worker whose launcher has ended."""
        if self.signum is None and orphaned():
            self.signum = signal.SIGTERM
        return self.signum

    def check(self) -> None:
        """Raise Preempted if a signal has come."""
        if self.signum is not None:
            raise Preempted(self.signum)

    def pass_on(self) -> None:
        """Do what the signal would have done, now that the state is saved; nothing if none came."""
        if self.signum is None:
            return
        if orphaned():
            # Nobody is left to hear of it, and a pool's worker would wait for more work.
            os._exit(128 + self.signum)
        handler = self.before.get(self.signum)
        if callable(handler):
            handler(self.signum, None)
        else:
            raise SystemExit(128 + self.signum)


@contextmanager
def listening() -> Iterator[Asked]:
    """Note the signals of ASKING in place of their handlers.

    Outside the main thread, where Python allows no handlers, nothing is ever noted.
    """
    asked = Asked()

    def note(signum: int, _: FrameType | None) -> None:
        asked.signum = signum

    if threading.current_thread() is threading.main_thread():
        asked.before = {signum: signal.signal(signum, note) for signum in ASKING}
    try:
        yield asked
    finally:
        for signum, handler in asked.before.items():
            signal.signal(signum, handler)


def orphaned() -> bool:
    """Return whether the process that started this one, as its worker, has ended since.

    A program that a shell has started is no worker: it goes on without its shell.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return False
    if parent.sentinel is not None:
        return bool(wait([parent.sentinel], timeout=0))
    # joblib's workers are given none, but are started by their parent itself.
    return parent.pid != os.getppid()


def end_with_parent() -> None:
    """End this process as soon as the one that started it has ended, for whatever reason."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
