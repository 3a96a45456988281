"""The `said` command: train and check, read runs, share models, certify, and tools beside.

Whatever ends a command, it ends with an exit code and a line for each reason, without a traceback:
Ctrl-C, a terminal or a disk that takes nothing more, a mistake in the input.
"""

import io
import logging
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """Run `said`."""

    def said() -> int:
        # Imported here, since Ctrl-C may come meanwhile.
        from said_lightning.cli.app import app

        try:
            app()
        except SystemExit as end:
            if isinstance(getattr(end.__context__, "__cause__", None), KeyboardInterrupt):
                raise KeyboardInterrupt from None
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        return 0

    run(said)


def run(command: Callable[[], int]) -> NoReturn:
    """Exit with a command's code: 2 where the input was wrong, 130 after Ctrl-C."""
    code = 1
    try:
        _open_streams()
        code = _ended(command)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
        _complain(["stopped by Ctrl-C"])
    except OSError as error:
        # Of a pipe whose reader has seen enough there is nothing to say.
        if not isinstance(error, BrokenPipeError):
            place = error.filename or "standard output"
            _complain([f"error: {os.fsdecode(place)}: {error.strerror or error}"])
        code = code or 1
        # What is still unwritten has nowhere to go.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _ended(command: Callable[[], int]) -> int:
    """Run a command and return its code, 2 where the input was wrong."""
    from said_lightning.errors import UserError

    try:
        return command()
    except UserError as error:
        _complain(f"error: {message}" for message in error.messages)
        return 2


def _complain(lines: Iterable[str]) -> None:
    from said_lightning.runs.secrets import shown

    with suppress(OSError):
        for line in lines:
            print(shown(line), file=sys.stderr)


def _open_streams() -> None:
    """Let output go nowhere where it was closed, and show by its code what a terminal cannot."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, which a run's file would get otherwise; for workers too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.raiseExceptions = False  # of streams that break later
