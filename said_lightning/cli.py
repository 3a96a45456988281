"""The `said` command. Each subcommand imports what it needs, so that it starts at once."""

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from said_lightning.errors import UserError

if TYPE_CHECKING:
    from said_lightning.analysis.estimator import Row

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def said() -> None:
    """Read what the runs of train.py leave behind, or check what they would do."""


@app.command()
def d90(
    path: Annotated[Path, typer.Argument(help="Folder with runs at any depth below it.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the rows as JSON; draw only with --plot.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Folder for d90.png and d90.svg.", show_default="PATH")
    ] = None,
    no_plot: Annotated[bool, typer.Option("--no-plot", help="Draw nothing.")] = False,
) -> None:
    """The smallest d that reaches 90 % of full fine-tuning, from the runs below PATH."""
    from rich.console import Console

    from said_lightning.analysis import table
    from said_lightning.analysis.estimator import estimate
    from said_lightning.runs.index import find

    records, problems = find(path)
    _warn(*problems)
    rows = estimate(records)
    if as_json:
        typer.echo(table.to_json(rows))
    else:
        # A file or a pipe has no width of its own.
        Console(width=None if sys.stdout.isatty() else 100).print(table.show(rows))
    if not rows:
        _warn(f"{path}: {len(records)} runs, and none of method did or said yet")
    folder = plot or (None if as_json else path)
    if rows and folder and not no_plot:
        _draw(rows, folder)


@app.command()
def bench(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for the figures.", show_default=False)
    ] = None,
    model: Annotated[str, typer.Option(help="Model of the steps.")] = "minilm",
    d: Annotated[int, typer.Option(help="Numbers that a subspace trains.")] = 1000,
    rounds: Annotated[int, typer.Option(help="Steps of each contender.")] = 10,
) -> None:
    """Step time and peak memory of SAID and its neighbours, side by side: minutes."""
    from rich.console import Console

    from said_lightning.tools.bench import table
    from said_lightning.tools.bench.models import MODELS

    if model not in MODELS:
        raise UserError(f"--model {model}: no such model; there are {', '.join(MODELS)}")
    result = table.bench(model, d, rounds)
    table.show(result, Console(width=None if sys.stdout.isatty() else 100))
    if json_file is not None:
        table.write(result, json_file)


@app.command(context_settings={"ignore_unknown_options": True})
def check(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="As given to train.py, -m for a sweep included.")
    ] = None,
) -> None:
    """What a command of train.py would do: every mistake in it, or each job's budget."""
    from said_lightning.training.dry_run import check

    for budget in check(overrides or [], Path(__file__).parents[1] / "conf"):
        typer.echo(budget)


@app.command(context_settings={"ignore_unknown_options": True})
def pretrain(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Keys of conf/pretrain.yaml, text=[FILE,...] first.")
    ] = None,
) -> None:
    """A small BERT by masked language modelling on your own text, with checkpoints on the way."""
    import logging

    from said_lightning.tools.pretrain.settings import read_settings

    settings = read_settings(overrides or [], Path(__file__).parents[1] / "conf")
    from said_lightning.runs.signals import Preempted
    from said_lightning.tools.pretrain.run import pretrain

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        typer.echo(f"checkpoints: {pretrain(settings)}", err=True)
    except Preempted as signal:
        _warn(f"stopped by {signal}, with the state saved: the same command goes on")
        sys.exit(128 + signal.signum)


@app.command()
def status(
    path: Annotated[Path, typer.Argument(help="Folder with runs at any depth below it.")],
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay and follow, until Ctrl-C.")
    ] = False,
) -> None:
    """How a sweep stands: done, running, failed, waiting; why, and where the logs are."""
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


@app.command()
def report(
    path: Annotated[Path, typer.Argument(help="Folder with runs at any depth below it.")],
    out: Annotated[
        list[Path] | None,
        typer.Option("-o", "--out", help="File to write: .html, .md, .csv, .tex; repeatable."),
    ] = None,
) -> None:
    """d90 with its intervals, curves, lambda by layer, cost and sources, as one file."""
    from said_lightning.analysis.estimator import estimate
    from said_lightning.analysis.report.page import write
    from said_lightning.runs.index import find

    records, problems = find(path)
    _warn(*problems)
    if not (rows := estimate(records)):
        raise UserError(f"{path}: {len(records)} runs, and none of method did or said yet")
    for file in out or [path / "report.html"]:
        write(file, rows, records, path)
        typer.echo(f"report: {file}", err=True)


_SWEEP = Annotated[Path | None, typer.Option(help="All runs tried.", show_default="RUN/../../..")]


@app.command()
def certify(
    run: Annotated[Path, typer.Argument(help="Folder of a run that is done.")],
    levels: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Levels tried; repeatable, each costs. [3, 5, 9]"),
    ] = None,
    epochs: Annotated[int, typer.Option(min=0, help="Fine-tuning of each quantised run.")] = 1,
    sweep: _SWEEP = None,
) -> None:
    """A bound on the error of a run that holds with 95 %: trains it as a short message."""
    import logging

    from said_lightning.certify.certify import certify
    from said_lightning.certify.verdict import verdict

    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    typer.echo(verdict(certify(run, levels or [3, 5, 9], epochs, sweep)))


@app.command()
def verify(
    certificate: Annotated[Path, typer.Argument(help="A certificate.json.")],
    data_dir: Annotated[
        str | None, typer.Option(help="Where the task's files lie, if not where the run had them.")
    ] = None,
    sweep: _SWEEP = None,
) -> None:
    """Recompute a certificate from its artifact, base model and data; exit 2 where it is wrong."""
    from said_lightning.certify.verdict import verdict
    from said_lightning.certify.verify import verify

    typer.echo(f"verified\n{verdict(verify(certificate, data_dir, sweep))}")


@app.command()
def sync(
    path: Annotated[Path, typer.Argument(help="Folder with runs at any depth below it.")],
) -> None:
    """Push the W&B runs below PATH that were logged offline and not pushed yet."""
    from said_lightning.tools.wandb.sync import sync as push

    typer.echo(f"{push(path)} runs pushed", err=True)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run of method did or said.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File.", show_default="RUN/said.safetensors")
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="How theta is written.")
    ] = "float32",
) -> None:
    """A run's d numbers as one file, from which anybody with the base model has its model."""
    from said_lightning.artifact.export import export
    from said_lightning.artifact.file import FILE

    file = out or run / FILE
    metric = export(run, file, dtype).about.metric
    told = "unknown" if metric.value is None else f"{metric.value:.4f}"
    epoch = f"{metric.name} {told} after epoch {metric.epoch}"
    typer.echo(f"{file}: {file.stat().st_size:,} bytes, {epoch}", err=True)


_MODEL = Annotated[
    str | None,
    typer.Option("--model", help="Base model, a folder or hub id, if not where the run found it."),
]
_ARTIFACT = Annotated[Path, typer.Argument(help="File that `said export` wrote.")]


@app.command()
def merge(
    file: _ARTIFACT,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")],
    model: _MODEL = None,
) -> None:
    """An ordinary model folder from an artifact, which transformers loads by itself."""
    from said_lightning.artifact.merge import merge

    merge(file, out, model)


@app.command()
def push(
    file: _ARTIFACT,
    repository: Annotated[str, typer.Argument(help="USER/NAME on the Hugging Face hub.")],
) -> None:
    """Upload an artifact and its model card to the Hugging Face hub."""
    from said_lightning.artifact.push import push

    typer.echo(push(file, repository), err=True)


@app.command()
def workspace(
    project: Annotated[str, typer.Argument(help="At W&B.", metavar="ENTITY/PROJECT")],
    metric: Annotated[str, typer.Option(help="The metric that d90 is about.")] = "accuracy",
) -> None:
    """Give a W&B project a view with the metric over d, curves, and a table of what each run is."""
    from said_lightning.tools.wandb.workspace import save

    typer.echo(save(project, metric))


def _draw(rows: "list[Row]", folder: Path) -> None:
    # matplotlib takes half a second to import, and the table should not wait for it.
    from said_lightning.analysis.plot import draw

    try:
        files = draw(rows, folder)
    except OSError as error:
        _warn(f"{error.filename or folder}: no plot written: {error.strerror}")
    else:
        typer.echo(f"plot: {' '.join(map(str, files))}", err=True)


def _warn(*messages: str) -> None:
    for message in messages:
        typer.echo(f"warning: {message}", err=True)


def main() -> None:
    """Run the command; a mistake in the input is told on stderr and exits with code 2."""
    try:
        app()
    except UserError as error:
        for message in error.messages:
            typer.echo(f"error: {message}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
