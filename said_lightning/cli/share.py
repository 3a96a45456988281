"""`said export`, `merge` and `push`, `said certify` and `verify`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from said_lightning.cli.read import say, start_log

Sweep = Annotated[Path | None, typer.Option(help="All runs tried.", show_default="RUN/../../..")]
Model = Annotated[
    str | None,
    typer.Option("--model", help="Base model, a folder or hub id, if not where the run found it."),
]
Artifact = Annotated[Path, typer.Argument(help="File that `said export` wrote.")]


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run of method did or said.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File.", show_default="RUN/said.safetensors")
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="How theta is written.")
    ] = "float32",
) -> None:
    """Write a run's d numbers as one file, from which anybody with the base model has its model.

    Example: said export multirun_outputs/minilm/bbc/said-fastfood-d300-seed0-3f5cf17e
    """
    from said_lightning.artifact.export import export
    from said_lightning.artifact.file import FILE

    file = out or run / FILE
    metric = export(run, file, dtype).about.metric
    value = "unknown" if metric.value is None else f"{metric.value:.4f}"
    epoch = f"{metric.name} {value} after epoch {metric.epoch}"
    say(f"{file}: {file.stat().st_size:,} bytes, {epoch}", err=True)


def merge(
    file: Artifact,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")],
    model: Model = None,
) -> None:
    """Make an ordinary model folder of an artifact, which transformers loads by itself.

    Example: said merge said.safetensors -o my-model
    """
    from said_lightning.artifact.merge import merge

    merge(file, out, model)


def push(
    file: Artifact,
    repository: Annotated[str, typer.Argument(help="USER/NAME on the Hugging Face hub.")],
) -> None:
    """Upload an artifact and its model card to the Hugging Face hub.

    Example: said push said.safetensors me/mrpc-in-1000-numbers
    """
    from said_lightning.artifact.hub import push

    say(push(file, repository), err=True)


def certify(
    run: Annotated[Path, typer.Argument(help="Folder of a run that is done.")],
    levels: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Levels tried; repeatable, each costs. [3, 5, 9]"),
    ] = None,
    epochs: Annotated[int, typer.Option(min=0, help="Fine-tuning of each quantised run.")] = 1,
    sweep: Sweep = None,
) -> None:
    """Bound the error of a run with 95 % confidence: train it as a short message.

    Example: said certify RUN --levels 5 --epochs 1
    """
    from said_lightning.certify.certify import certify
    from said_lightning.certify.verify import verdict

    start_log()
    typer.echo(verdict(certify(run, levels or [3, 5, 9], epochs, sweep)))


def verify(
    certificate: Annotated[Path, typer.Argument(help="A certificate.json.")],
    data_dir: Annotated[
        str | None, typer.Option(help="Where the task's files lie, if not where the run had them.")
    ] = None,
    sweep: Sweep = None,
) -> None:
    """Recompute a certificate from its artifact, base model and data; exit 2 where it is wrong.

    Example: said verify RUN/certificate.json
    """
    from said_lightning.certify.verify import verdict, verify

    typer.echo(f"verified\n{verdict(verify(certificate, data_dir, sweep))}")
