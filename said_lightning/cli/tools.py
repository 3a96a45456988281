"""`said pretrain`, `bench`, `sync` and `workspace`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from said_lightning.cli.read import Runs, on_one_thread, say, start_log, warn
from said_lightning.cli.train import Overrides
from said_lightning.errors import UserError


def pretrain(context: typer.Context, overrides: Overrides = None) -> None:
    """Train a small BERT by masked language modelling on your own text, with checkpoints.

    The overrides are keys of conf/pretrain.yaml, text=[FILE,...] first; --help explains them.

    Example: said pretrain text=[mine.txt] out=small layers=2
    """
    from said_lightning.tools.pretrain.settings import manual, read_settings

    arguments = [*(overrides or []), *context.args]
    if {"-h", "--help"} & set(arguments):
        typer.echo(manual())
        return
    settings = read_settings(arguments)
    from said_lightning.runs.signals import Preempted
    from said_lightning.tools.pretrain.run import pretrain

    start_log()
    try:
        say(f"checkpoints: {pretrain(settings)}", err=True)
    except Preempted as signal:
        warn(f"stopped by {signal}, with the state saved: the same command goes on")
        sys.exit(128 + signal.signum)


def bench(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for the figures.", show_default=False)
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Models, each in turn.", show_default=False)
    ] = None,
    d: Annotated[
        list[int] | None, typer.Option(help="Numbers that a subspace trains.", show_default=False)
    ] = None,
    rounds: Annotated[int, typer.Option(help="Steps of each contender.")] = 5,
) -> None:
    """Measure step time and peak memory of SAID and its neighbours, side by side: minutes.

    Example: said bench --model minilm --d 1000 --json steps.json
    """
    from rich.console import Console

    from said_lightning.tools.bench import table
    from said_lightning.tools.bench.measure import DEVICE
    from said_lightning.tools.bench.models import MODELS

    models = model or table.MODELS[DEVICE]
    if wrong := [
        f"--model {one}: no such model; there are {', '.join(MODELS)}"
        for one in models
        if one not in MODELS
    ]:
        raise UserError(*wrong)
    result = table.bench(models, d or table.DS, rounds)
    table.show(result, Console(width=None if sys.stdout.isatty() else 100))
    if json_file is not None:
        table.write(result, json_file)


def sync(path: Runs) -> None:
    """Push the W&B runs below PATH that were logged offline, and their study: d90 as a run.

    Example: said sync multirun_outputs
    """
    on_one_thread()
    from said_lightning.tools.wandb.sync import sync

    pushed, warnings = sync(path)
    warn(*warnings)
    typer.echo(f"{pushed} runs pushed", err=True)


def workspace(
    project: Annotated[str, typer.Argument(help="At W&B.", metavar="ENTITY/PROJECT")],
    metric: Annotated[str, typer.Option(help="The metric that d90 is about.")] = "accuracy",
) -> None:
    """Give a W&B project a view: d90 first, then the metric over d, curves, and a table of runs.

    Example: said workspace me/said_lightning
    """
    from said_lightning.tools.wandb.workspace import save

    say(save(project, metric))
