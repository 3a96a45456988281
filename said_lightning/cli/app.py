"""The commands of `said`, and how its help shows them."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.markup import escape

from said_lightning import __version__
from said_lightning.cli import read, share, tools, train

GROUPS = {
    "Train": (train.train, train.check),
    "Read what runs leave behind": (read.d90, read.status, read.report, read.board),
    "Share a model": (share.export, share.merge, share.push),
    "Certify": (share.certify, share.verify),
    "Beside the main job": (tools.pretrain, tools.bench, tools.sync, tools.workspace),
}
# These take Hydra's overrides and flags as they stand.
HYDRA = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> bool:
    if asked:
        typer.echo(f"said_lightning {__version__}")
        raise typer.Exit
    return asked


@app.callback(
    epilog="Examples: "
    "[bold]said train -m task=mrpc method=full,said d=100,1000[/bold] · "
    "[bold]said d90 multirun_outputs[/bold] · "
    "[bold]said export RUN[/bold] · "
    "[bold]said certify RUN[/bold] · "
    "[bold]said pretrain text=\\[mine.txt] out=small[/bold]"
)
def said(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit.")
    ] = False,
) -> None:
    """How many numbers does it take to fine-tune a model on a task? Train, and read the answer."""


def _add(panel: str, command: Callable[..., Any]) -> None:
    summary, _, example = (command.__doc__ or "").partition("Example: ")
    settings: dict[str, Any] = HYDRA if command is train.check else {}
    if command in (train.train, tools.pretrain):
        settings = HYDRA | {"help_option_names": []}  # theirs explains every key
    app.command(
        help=summary.strip(),
        epilog=f"Example: [bold]{escape(example.strip())}[/bold]",
        rich_help_panel=panel,
        context_settings=settings,
    )(command)


for _panel, _commands in GROUPS.items():
    for _command in _commands:
        _add(_panel, _command)
