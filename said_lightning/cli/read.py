"""`said d90`, `said status` and `said report`: what runs leave behind, read without torch."""

import gc
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from said_lightning.errors import UserError, validate_installed
from said_lightning.runs.secrets import guard_logs
from said_lightning.runs.text import terminal

if TYPE_CHECKING:
    from said_lightning.analysis.estimator import Row

Runs = Annotated[Path, typer.Argument(help="Folder with runs at any depth below it.")]


def d90(
    path: Runs,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the rows as JSON; draw only with --plot.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Folder for d90.png and d90.svg.", show_default="PATH")
    ] = None,
    no_plot: Annotated[bool, typer.Option("--no-plot", help="Draw nothing.")] = False,
) -> None:
    """Print the smallest d that reaches 90 % of full fine-tuning, from the runs below PATH.

    Example: said d90 multirun_outputs
    """
    on_one_thread()
    from rich.console import Console

    from said_lightning.analysis import table
    from said_lightning.analysis.estimator import estimate
    from said_lightning.runs.index import find

    records, unread = find(path)
    warn(*unread)
    rows = estimate(records)
    if as_json:
        typer.echo(table.to_json(rows))
    else:
        # A file or a pipe has no width of its own.
        Console(width=None if sys.stdout.isatty() else 100).print(table.show(rows))
    if not rows:
        warn(f"{path}: {len(records)} runs, and none of method did or said yet")
    folder = plot or (None if as_json else path)
    if rows and folder and not no_plot:
        _draw(rows, folder)


def status(
    path: Runs,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay and follow, until Ctrl-C.")
    ] = False,
) -> None:
    """Print how a sweep stands: done, running, failed, waiting; why, and where the logs are.

    Example: said status multirun_outputs --watch
    """
    from rich.console import Console

    from said_lightning.runs.status import show

    console = Console(width=None if sys.stdout.isatty() else 120)
    if not watch:
        console.print(show(path), soft_wrap=not sys.stdout.isatty())
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live, suppress(KeyboardInterrupt):
        while True:
            live.update(show(path), refresh=True)
            time.sleep(2)


def report(
    path: Runs,
    out: Annotated[
        list[Path] | None,
        typer.Option("-o", "--out", help="File to write: .html, .md, .csv, .tex; repeatable."),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write d90 with its intervals, curves, lambda by layer, cost and sources to one file.

    Example: said report multirun_outputs -o d90.html -o d90.csv
    """
    on_one_thread()
    from said_lightning.analysis.estimator import estimate
    from said_lightning.analysis.report.formats import write
    from said_lightning.runs.index import find

    files = out or [path / "report.html"]
    pages = [file for file in files if file.suffix == ".html"]
    if show and not pages:
        raise UserError("--open: a browser shows .html; expected a -o FILE.html")
    records, unread = find(path)
    gc.freeze()  # thousands of records stay, and each collection would walk through all of them
    warn(*unread)
    if not (rows := estimate(records)):
        raise UserError(f"{path}: {len(records)} runs, and none of method did or said yet")
    for file in files:
        write(file, rows, records, path)
        say(f"report: {file}", err=True)
    if show:
        _browse(pages[0].resolve().as_uri())


def board(
    path: Runs,
    port: Annotated[int, typer.Option(help="Port on this machine; 0 takes a free one.")] = 0,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve the report over a sweep that runs, with its state and the time left, until Ctrl-C.

    Example: said board multirun_outputs --open
    """
    on_one_thread()
    from said_lightning.analysis.report.board import Board, serve
    from said_lightning.runs.index import find

    if not path.is_dir():
        find(path)  # says what is there instead
    one, stop = Board(path), Event()

    def end(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one waits for nothing

    with serve(one, port) as address:
        # Not raised inside of a plot that is being drawn, whose C++ may abort at it.
        signal.signal(signal.SIGINT, end)
        say(f"board: {address} until Ctrl-C")
        sys.stdout.flush()
        if show:
            _browse(address)
        while not stop.is_set():
            one.look()
            stop.wait(1)


def _browse(address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        warn(f"no browser was found; open {address} in yours")


def on_one_thread() -> None:
    """Keep the BLAS that numpy is about to load from waking threads for small matrices."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _draw(rows: "list[Row]", folder: Path) -> None:
    if lacking := validate_installed("matplotlib", "report", "the plot"):
        warn(*lacking)
        return
    # matplotlib takes half a second to import, and the table should not wait for it.
    from said_lightning.analysis.plots.curves import draw

    try:
        files = draw(rows, folder)
    except OSError as error:
        warn(f"{error.filename or folder}: no plot written: {error.strerror}")
    else:
        found = " ".join(map(str, files)) or "none drawn, since no run has a metric yet"
        say(f"plot: {found}", err=True)


def say(message: str, err: bool = False) -> None:
    """Print a message, whatever the names and paths in it hold."""
    typer.echo(terminal(message), err=err)


def warn(*messages: str) -> None:
    """Print warnings."""
    for message in messages:
        say(f"warning: {message}", err=True)


def start_log() -> None:
    """Let log lines go to the terminal, without secrets."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    guard_logs()
