"""A terminal with something that moves at its bottom, above which all processes print.

What they print comes through a pipe that stands in for the terminal, line by line; so that no
process breaks what is shown, whatever it logs, and none takes itself to be on a terminal.
"""

import os
import select
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event, Thread

from rich.console import Console, ConsoleDimensions, RenderableType
from rich.live import Live
from rich.text import Text

_OUT, _ERR = 1, 2


def is_terminal() -> bool:
    """Return whether something can move on what standard error is."""
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return sys.stderr.isatty() and os.isatty(_ERR) and not dumb


class Screen(Console):
    """A console whose cursor stays visible, since a process that is killed cannot show it again."""

    def show_cursor(self, show: bool = True) -> bool:
        """Leave the cursor as it is."""
        return False

    def fit(self) -> None:
        """Take over the terminal's size, or the environment's."""
        with suppress(OSError):
            here = os.get_terminal_size(self.file.fileno())
            columns, lines = shutil.get_terminal_size(here)
            self.size = ConsoleDimensions(columns or 80, lines or 24)


class Terminal:
    """Shows what `draw` returns at the bottom of the terminal, and printed lines above it.

    While it is entered, standard output and error are a pipe where they are the terminal. Whatever
    becomes of the terminal, the pipe is read, so that no process waits for it.
    """

    def __init__(self, draw: Callable[[], RenderableType | None]) -> None:
        self.draw = draw
        self._ending = Event()
        self._thread = Thread(target=self._serve, daemon=True)
        self._part = b""
        self._gone = False

    def __enter__(self) -> "Terminal":
        """Let the pipe stand in for the terminal."""
        self._pipe, writer = os.pipe()
        shown = os.fdopen(os.dup(_ERR), "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors)
        self.console = Screen(file=shown, highlight=False)
        self.live = Live(
            console=self.console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        _flush()
        self._before = {number: os.dup(number) for number in (_OUT, _ERR) if os.isatty(number)}
        for number in self._before:
            os.dup2(writer, number)
        os.close(writer)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the terminal back once all that came through the pipe is printed."""
        _flush()
        for number, terminal in self._before.items():
            os.dup2(terminal, number)
            os.close(terminal)
        self._ending.set()
        self._thread.join()
        with suppress(OSError):
            self.console.file.close()

    def _serve(self) -> None:
        drawn = 0.0
        while True:
            if select.select([self._pipe], [], [], 0.1)[0]:
                if not (content := os.read(self._pipe, 1 << 16)):
                    break
                self._print(content)
            elif self._ending.is_set():  # others, who will end soon, still hold the pipe
                break
            if time.monotonic() - drawn > 0.2:
                self._draw()
                drawn = time.monotonic()
        self._print(b"\n" if self._part else b"")
        self._on_terminal(self.live.stop)

    def _print(self, content: bytes) -> None:
        """Print the lines that are whole; of one that was written over, what was written last."""
        *lines, self._part = (self._part + content).split(b"\n")
        for line in lines:
            last = line.rstrip(b"\r").rpartition(b"\r")[2]
            text = Text.from_ansi(last.decode(errors="backslashreplace"))
            self._on_terminal(partial(self.console.print, text, soft_wrap=True))

    def _draw(self) -> None:
        shown = self.draw()
        self.console.fit()
        if shown is None:
            return
        self._on_terminal(self.live.start)
        self._on_terminal(partial(self.live.update, shown, refresh=True))

    def _on_terminal(self, change: Callable[[], object]) -> None:
        try:
            if not self._gone:
                change()
        except (OSError, ValueError):  # it was closed
            self._gone = True


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
