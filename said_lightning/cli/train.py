"""`said train` and `said check`. Each command imports what it needs, so that it starts at once."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from said_lightning.cli.read import say

if TYPE_CHECKING:
    from said_lightning.runs.record import Record

Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")]


def start(arguments: Sequence[str]) -> int:
    """Train what a command line asks for, with d90 read meanwhile and printed in the end."""
    from said_lightning.training.follow import Reader
    from said_lightning.training.main import main

    return main(arguments, Reader(_words, _table))


def _words(records: "list[Record]") -> str:
    from said_lightning.analysis.words import words

    return words(records)


def _table(records: "list[Record]") -> None:
    from rich.console import Console

    from said_lightning.analysis.estimator import estimate
    from said_lightning.analysis.table import show

    if rows := estimate(records):
        Console(width=None if sys.stdout.isatty() else 100).print(show(rows))


def train(context: typer.Context, overrides: Overrides = None) -> None:
    """Train one run, or with -m a sweep or a search: the same as `python train.py`.

    It takes Hydra's overrides and flags: -m sweeps, --config-dir DIR adds configs of your own,
    --help lists models and tasks, and explains every key. Exit code 0: all runs are done, 1: some
    failed, 2: the command or the data are wrong, and nothing was trained.

    Example: said train -m model=minilm task=bbc method=full,said d=100,1000
    """
    raise typer.Exit(start([*(overrides or []), *context.args]))


def check(context: typer.Context, overrides: Overrides = None) -> None:
    """Print what a command of `said train` would do: all that is wrong, or each job's budget.

    Example: said check -m model=minilm task=bbc method=said d=100,1000
    """
    from said_lightning.training.dry_run import check

    for budget in check([*(overrides or []), *context.args]):
        for line in budget.splitlines():
            say(line)
