"""The job server: a process that has imported torch, from which jobs and checks are forked.

It imports while the launcher, which needs no torch, composes and checks the command.
"""

import multiprocessing
import os
import pkgutil
import signal
from collections.abc import Callable, Mapping
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from said_lightning.errors import UserError
from said_lightning.runs.signals import ASKING, end_with_parent

_CONTEXT = multiprocessing.get_context("forkserver")
# A worker of joblib asks its jobs to start processes by a method that the second one registers;
# where it is not installed, the server passes it over.
_PRELOADED = ["said_lightning.training.preload", "joblib.externals.loky.backend.context"]


def start() -> None:
    """Start the server, unless it runs.

    A signal to the whole process group is for the launcher and its job. It must not end the server
    between them, through which the launcher learns how the job ended: it never hears of one.
    """
    _CONTEXT.set_forkserver_preload(_PRELOADED)
    resource_tracker.ensure_running()  # which sees to its own signals, and to this process's
    # Here a signal waits meanwhile; in the server, which inherits this, for ever.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def process(
    target: Callable[..., object], *arguments: object, environment: Mapping[str, str] | None = None
) -> ForkServerProcess:
    """Return a process of the server, not started yet, that calls target(*arguments).

    It works in this process's folder and environment, or another, and ends when this one does.
    Until it listens itself, being asked to stop is to end at once.
    """
    start()
    here = os.getcwd(), dict(environment or os.environ)
    return _CONTEXT.Process(target=_work, args=(*here, target, *arguments))


def call(name: str, *arguments: object) -> Any:
    """Return what a function gives in a process of the server, named as `package.module:function`.

    Raises UserError where it does, RuntimeError where the process ends without an answer.
    """
    reader, writer = _CONTEXT.Pipe(duplex=False)
    child = process(_answer, writer, name, arguments)
    child.start()
    writer.close()
    try:
        answer = reader.recv()
    except EOFError:
        child.join()
        raise RuntimeError(f"{name} ended without an answer, code {child.exitcode}") from None
    finally:
        reader.close()
    child.join()
    if isinstance(answer, UserError):
        raise UserError(*answer.messages)
    return answer


def _work(
    cwd: str, environment: dict[str, str], target: Callable[..., object], *arguments: object
) -> None:
    end_with_parent()
    os.environ.update(environment)
    os.chdir(cwd)
    for signum in ASKING:
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)
    target(*arguments)


def _answer(writer: Connection, name: str, arguments: tuple[object, ...]) -> None:
    try:
        answer = pkgutil.resolve_name(name)(*arguments)
    except UserError as error:
        answer = error
    writer.send(answer)
