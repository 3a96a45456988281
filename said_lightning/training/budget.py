"""The budget of a run: numbers, groups, steps and memory, from the model's shapes alone."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from transformers import PretrainedConfig

from said_lightning.config.ladder import Ladder
from said_lightning.config.schema import Config
from said_lightning.data.splits import SplitRows
from said_lightning.errors import UserError
from said_lightning.models.adapter import describe, ladder
from said_lightning.models.build import confine_for
from said_lightning.models.encoder import outline
from said_lightning.models.head import head_label
from said_lightning.models.quantize import to_quantize
from said_lightning.projections.core.factors import sides_of
from said_lightning.subspace.groups import budget, split_head, validate_budget
from said_lightning.training.ddp import validate_devices

FLOAT, HALF = 4, 2
BITS = {"nf4": 4.13, "int8": 8.0}  # a number's, its share of the scales included
# Bytes that a layer keeps of each token and unit of width for the backward pass in float32, of each
# unit between its two linear layers, and of each head's attention; the form is that of Korthikanti
# et al. (arXiv 2205.05198), the numbers were fitted on a CPU to MiniLM and SmolLM2-135M;
# benchmarks/budget.py holds them to the peaks of runs.
LINEAR, BETWEEN, ATTENTION = 36, 16, 12
NUMBERED = re.compile(r"\.\d+\.")  # a weight of one of several layers
# Bytes of Python and the libraries, which are a part of a run's peak where that is the process's.
PROGRAM = 6e8


@dataclass(frozen=True)
class Outline:
    """The shapes of a run's model: D and what makes it up, m lambdas, numbers of a head outside.

    sizes: the numbers of each group. weights: the shapes of all weights. quantized: the names of
    those that are held in fewer bits. held: whether the checkpoint has a head of its own, None
    where it is not here. recomputes: whether its layers can be computed again backwards. ladder:
    the sizes that a method of PEFT can have.
    """

    D: int
    m: int
    outside: int
    sizes: dict[str, int]
    weights: dict[str, tuple[int, ...]]
    quantized: set[str]
    shape: PretrainedConfig
    held: bool | None
    recomputes: bool
    ladder: Ladder | None


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
        if config.trainer.activation_checkpointing and not one.recomputes:
            found.append(
                f"trainer.activation_checkpointing=true: {config.model.name} cannot compute its "
                "layers again; expected false"
            )
        if config.method.name in ("did", "said"):
            for d in config.every_d:
                found += [*validate_budget(d, one.m, one.D), *validate_room(d, config, one)]
    return list(dict.fromkeys(found))


def ladder_of(config: Config) -> Ladder | None:
    """Return the sizes that a run's method of PEFT can have; raise UserError as `outlined`."""
    return outlined(config).ladder


def validate_room(d: int, config: Config, one: Outline) -> list[str]:
    """Return a message where a quantized weight has fewer numbers than theta."""
    inside = config.method.space == "all"
    least = min((prod(one.weights[name]) for name in one.quantized if inside), default=d)
    if d - one.m <= least:
        return []
    return [
        f"d={d}: expected at most {least + one.m:,} with method.quantize={config.method.quantize}, "
        "the numbers of the model's smallest quantized weight"
    ]


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
    layers = to_quantize(model).values() if method.quantize else ()
    packed = {id(layer.weight) for layer in layers}  # a space gives weights other names
    sizes = ladder(model, method.peft) if method.name == "peft" else None
    confine_for(model, method)
    groups, D = budget(model, method.name, method.groups, method.head)
    inside, outside = split_head(model, method.head)
    weights = dict(model.named_parameters())
    return Outline(
        D=D,
        m=len(groups) if method.name == "said" else 0,
        outside=sum(weight.numel() for weight in outside.values()),
        sizes={name: sum(inside[one].numel() for one in group) for name, group in groups.items()},
        weights={name: tuple(weight.shape) for name, weight in weights.items()},
        quantized={name for name, weight in weights.items() if id(weight) in packed},
        shape=model.config,
        held=held,
        recomputes=model.supports_gradient_checkpointing,
        ladder=sizes,
    )


def estimate(config: Config, rows: SplitRows) -> Iterator[str]:
    """Yield a run's budget in lines of text."""
    one = outlined(config)
    yield f"D      {one.D:,}"
    if config.method.name == "full":
        yield f"d      {one.D:,} (full fine-tuning)"
    elif one.ladder is not None:
        yield f"d      {describe(config.method.peft, one.ladder.nearest(config.d))}"
    else:
        beside = f", and {one.outside:,} of the head outside" if one.outside else ""
        yield f"d      {config.d:,} = {config.d - one.m:,} theta + {one.m} lambda{beside}"
    yield f"head   {head_label(config.model, config.task, config.seed, one.held)}"
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


def number(config: Config) -> int:
    """Return the bytes of a weight, and of what has a weight's type: gradient, moments, copy."""
    return HALF if config.trainer.precision == "bf16-true" else FLOAT


def weights_held(config: Config, model: Outline) -> float:
    """Return the bytes of a model's weights."""
    each = BITS.get(config.method.quantize or "", 0) / 8
    bytes_ = (
        prod(shape) * (each if name in model.quantized else number(config))
        for name, shape in model.weights.items()
    )
    return float(sum(bytes_))


def held_to_train(config: Config, model: Outline) -> int:
    """Return the bytes of what trains the weights, beside them and what batches need."""
    each = number(config)
    sizes = {name: prod(shape) for name, shape in model.weights.items()}
    if config.method.name == "full":
        return 3 * model.D * each  # gradient and AdamW's two moments
    if config.method.name == "peft":
        return 4 * config.d * each  # beside them, they themselves
    copies = model.D if config.method.origin == "copy" else 0
    copies -= sum(sizes[name] for name in model.quantized) if copies else 0
    if config.projection.name != "kronecker":
        return (copies + max(sizes.values())) * each  # one gradient at a time
    matrices, _ = sides_of(model.weights, config.d - model.m)
    factors = sum(one.rows * one.a + one.columns * one.b for one in matrices.values())
    return (copies + (factors if config.projection.keep else 0)) * each


def memory(config: Config, model: Outline) -> str:
    """Return a run's peak in gigabytes, as its record will have it: with batches of longest rows.

    That is a GPU's memory, and without one the process's.
    """
    held = weights_held(config, model) + held_to_train(config, model)
    shape: Any = model.shape
    own = f"{held / 1e9:.2f} of weights and what trains them"
    program = 0.0 if torch.cuda.is_available() else PROGRAM
    if program:
        own = f"{program / 1e9:.1f} of the program, {own}"
    width, layers = (getattr(shape, key, None) for key in ("hidden_size", "num_hidden_layers"))
    if not width or not layers:
        return f"{own} (GB), and what its batches need, which its config.json does not say"
    heads = getattr(shape, "num_attention_heads", None) or 0
    if shape.is_encoder_decoder:
        layers += getattr(shape, "decoder_layers", layers)
    tokens = config.task.max_length
    unit = LINEAR + BETWEEN * between(model, width) / width + ATTENTION * heads * tokens / width
    if config.trainer.activation_checkpointing:
        unit = FLOAT + unit / layers  # each layer's input, and the rest of one at a time
    if config.trainer.precision != "32-true":
        unit /= 2
    size = config.trainer.batch_size
    passing = size * tokens * width * layers * unit
    total = (program + held + passing) / 1e9
    return f"about {total:.1f} GB: {own}, the rest for batches of {size} rows of {tokens} tokens"


def between(model: Outline, width: int) -> int:
    """Return the width between a layer's two linear layers: 4 times its own where none are seen.

    It is read off the shapes of the layers' matrices, since each architecture's config.json has a
    name of its own for it: of those that lead to a layer's width, the widest comes from there. A
    mixture holds its experts' matrices as one, and GPT-2 holds them transposed.
    """
    sides = (
        shape[-2:]
        for name, shape in model.weights.items()
        if NUMBERED.search(name) and len(shape) in (2, 3) and shape[-1] > 1
    )
    return max((columns for rows, columns in sides if rows == width), default=4 * width)
