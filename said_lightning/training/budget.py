"""The budget of a run: numbers, groups, steps and memory, from the model's shapes alone."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig

from said_lightning.config.schema import Config
from said_lightning.data.splits import SplitRows
from said_lightning.errors import UserError
from said_lightning.models.build import confine_for
from said_lightning.models.encoder import outline
from said_lightning.models.head import head_label
from said_lightning.subspace.groups import budget, split_head, validate_budget
from said_lightning.training.ddp import validate_devices

FLOAT = 4
# Bytes that a layer keeps of each token and unit of width for the backward pass in float32, and of
# each head's attention; the form is that of Korthikanti et al. (arXiv 2205.05198), the numbers were
# fitted on a CPU to MiniLM, whose peak they give within 10 % at 64 to 512 tokens.
LINEAR, ATTENTION = 100, 12


@dataclass(frozen=True)
class Outline:
    """The shapes of a run's model: D and what makes it up, m lambdas, numbers of a head outside.

    sizes: the numbers of each group. weights: the numbers of all weights, and of the largest one.
    held: whether the checkpoint has a head of its own, None where it is not here.
    """

    D: int
    m: int
    outside: int
    sizes: dict[str, int]
    weights: tuple[int, int]
    shape: PretrainedConfig
    held: bool | None


def validate_models(configs: Iterable[Config]) -> list[str]:
    """Return what is wrong with the models of runs, with d for them and with this machine.

    Each (model, task, method) is outlined once; no weights are read.
    """
    found: list[str] = []
    for config in configs:
        found += validate_devices(config.trainer.devices)
        try:
            one = outlined(config)
        except UserError as error:
            found += error.messages
            continue
        if config.method.name != "full":
            found += [line for d in config.every_d for line in validate_budget(d, one.m, one.D)]
    return list(dict.fromkeys(found))


def budgets(jobs: Iterable[tuple[str, Config, SplitRows]]) -> list[str]:
    """Return the budget of each job as text: of its name, config and rows.

    Raises UserError with everything that `validate_models` finds.
    """
    jobs = list(jobs)
    if wrong := validate_models(config for _, config, _ in jobs):
        raise UserError(*wrong)
    return ["\n".join([name, *estimate(config, rows)]) for name, config, rows in jobs]


_outlines: dict[str, Outline] = {}


def outlined(config: Config) -> Outline:
    """Return the outline of a run's model, made once for each (model, task, method).

    Raises UserError where the model cannot be had.
    """
    key = repr((config.model, config.task, config.method))
    if key not in _outlines:
        _outlines[key] = _outline(config)
    return _outlines[key]


def _outline(config: Config) -> Outline:
    method = config.method
    model, held = outline(config.model, config.task)
    confine_for(model, method)
    groups, D = budget(model, method.name, method.groups, method.head)
    inside, outside = split_head(model, method.head)
    weights = [weight.numel() for weight in model.parameters()]
    return Outline(
        D=D,
        m=len(groups) if method.name == "said" else 0,
        outside=sum(weight.numel() for weight in outside.values()),
        sizes={name: sum(inside[one].numel() for one in group) for name, group in groups.items()},
        weights=(sum(weights), max(weights)),
        shape=model.config,
        held=held,
    )


def estimate(config: Config, rows: SplitRows) -> Iterator[str]:
    """Yield a run's budget in lines of text."""
    one = outlined(config)
    yield f"D      {one.D:,}"
    if config.method.name == "full":
        yield f"d      {one.D:,} (full fine-tuning)"
    else:
        beside = f", and {one.outside:,} of the head outside" if one.outside else ""
        yield f"d      {config.d:,} = {config.d - one.m:,} theta + {one.m} lambda{beside}"
    yield f"head   {head_label(config.model, config.seed, one.held)}"
    yield f"groups {', '.join(f'{name} {size:,}' for name, size in one.sizes.items())}"
    yield f"rows   {rows}"
    yield f"steps  {steps(config, rows.train)}"
    yield f"memory {memory(config, one)}"


def steps(config: Config, rows: int | None) -> str:
    """Return how many optimizer steps a run takes."""
    if rows is None:
        return "known when the data are here"
    trainer = config.trainer
    batches = math.ceil(rows / (trainer.batch_size * trainer.devices))
    each = math.ceil(batches / trainer.accumulate)
    return f"{trainer.epochs * each:,} = {trainer.epochs} epochs of {each:,} ({rows:,} rows)"


def memory(config: Config, model: Outline) -> str:
    """Return what a run's tensors need at most, in gigabytes: batches of the longest rows."""
    held, largest = model.weights
    if config.method.name == "full":
        held += 3 * model.D  # gradient and AdamW's two moments
    else:
        held += largest + (model.D if config.method.origin == "copy" else 0)
    shape: Any = model.shape
    own = f"{held * FLOAT / 1e9:.2f} of weights and what trains them"
    width, layers = (getattr(shape, key, None) for key in ("hidden_size", "num_hidden_layers"))
    if not width or not layers:
        return f"{own} (GB), and what its batches need, which its config.json does not say"
    heads = getattr(shape, "num_attention_heads", None) or 0
    if shape.is_encoder_decoder:
        layers += getattr(shape, "decoder_layers", layers)
    tokens = config.task.max_length
    unit = LINEAR + ATTENTION * heads * tokens / width
    if config.trainer.precision != "32-true":
        unit /= 2
    size = config.trainer.batch_size
    passing = size * tokens * width * layers * unit
    total = (held * FLOAT + passing) / 1e9
    return f"about {total:.1f} GB: {own}, the rest for batches of {size} rows of {tokens} tokens"
