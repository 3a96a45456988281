"""A terminal for a command: what it shows at each moment, and how the command ended."""

import fcntl
import os
import pty
import select
import struct
import termios
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pyte

ROWS = 100


class Shown(NamedTuple):
    """A command's exit code, the lines of the screen at each moment and in the end, and all bytes.

    A moment is what one read of the terminal brought.
    """

    code: int
    moments: list[list[str]]
    last: list[str]
    written: bytes


def show(
    command: Sequence[str],
    columns: int = 160,
    act: Callable[[list[str], int], object] = lambda lines, terminal: None,
    **environment: str,
) -> Shown:
    """Run a command on a terminal of its own; `act` sees each moment, and may type or hang up."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover
        own = {"TERM": "xterm-256color", "LANG": "C.UTF-8", **environment}
        kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
        os.execve(command[0], list(command), kept | own)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    screen = pyte.Screen(columns, ROWS)
    stream = pyte.ByteStream(screen)
    moments, written = [], b""
    while True:
        try:
            ready = select.select([terminal], [], [], 300)[0]
            content = os.read(terminal, 1 << 16) if ready else b""
        except OSError:  # the command has ended, or was hung up on
            break
        if not content:
            break
        written += content
        stream.feed(content)
        moments.append(lines_of(screen))
        act(moments[-1], terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Shown(code, moments, lines_of(screen), written)


def lines_of(screen: pyte.Screen) -> list[str]:
    """Return the lines of a screen that are not empty."""
    return [text for line in screen.display if (text := line.rstrip())]
