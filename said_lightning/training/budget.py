"""The budget of a run: numbers, groups, steps and memory, from the model's shapes alone."""

import math

from transformers import PreTrainedModel

from said_lightning.config.schema import Config
from said_lightning.errors import UserError
from said_lightning.models.build import confine_for
from said_lightning.models.encoder import outline
from said_lightning.subspace.groups import split_head
from said_lightning.subspace.subspace import budget, budget_problems

FLOAT = 4
# Bytes that a layer keeps of each token and unit of width for the backward pass in float32, and of
# each head's attention; the form is that of Korthikanti et al. (arXiv 2205.05198), the numbers were
# fitted on a CPU to MiniLM, whose peak they give within 10 % at 64 to 512 tokens.
LINEAR, ATTENTION = 100, 12


def estimate(config: Config, rows: int | None) -> list[str]:
    """Gives a run's budget as lines of text; `rows` to train on, None where that is not known.

    Raises UserError where the model cannot be had, or d does not suit it.
    """
    model = outline(config.model, config.task)
    method = config.method
    confine_for(model, method)
    groups, D = budget(model, method.name, method.groups, method.head)
    inside, outside = split_head(model, method.head)
    beside = sum(weight.numel() for weight in outside.values())
    sizes = {
        name: sum(inside[tensor].numel() for tensor in group) for name, group in groups.items()
    }
    if method.name == "full":
        d = f"d      {D:,} (full fine-tuning)"
    else:
        m = len(groups) if method.name == "said" else 0
        if problems := [line for d in config.every_d for line in budget_problems(d, m, D)]:
            raise UserError(*problems)
        d = f"d      {config.d:,} = {config.d - m:,} theta + {m} lambda"
        d += f", and {beside:,} of the head outside" if beside else ""
    return [
        f"D      {D:,}",
        d,
        f"groups {', '.join(f'{name} {size:,}' for name, size in sizes.items())}",
        f"steps  {steps(config, rows)}",
        f"memory {memory(config, model, D)}",
    ]


def steps(config: Config, rows: int | None) -> str:
    """Says how many optimizer steps a run takes."""
    if rows is None:
        return "known when the data are here"
    trainer = config.trainer
    batches = math.ceil(rows / (trainer.batch_size * trainer.devices))
    each = math.ceil(batches / trainer.accumulate)
    return f"{trainer.epochs * each:,} = {trainer.epochs} epochs of {each:,} ({rows:,} rows)"


def memory(config: Config, model: PreTrainedModel, D: int) -> str:
    """Says what a run's tensors need at most, in gigabytes: batches of the longest rows."""
    weights = [weight.numel() for weight in model.parameters()]
    held = sum(weights)
    if config.method.name == "full":
        held += 3 * D  # gradient and AdamW's two moments
    else:
        held += max(weights) + (D if config.method.origin == "copy" else 0)
    shape = model.config
    width, heads = shape.hidden_size, shape.num_attention_heads
    layers = shape.num_hidden_layers
    if shape.is_encoder_decoder:
        layers += getattr(shape, "decoder_layers", layers)
    tokens = config.task.max_length
    unit = LINEAR + ATTENTION * heads * tokens / width
    if config.trainer.precision != "32-true":
        unit /= 2
    size = config.trainer.batch_size
    passing = size * tokens * width * layers * unit
    total, own = (held * FLOAT + passing) / 1e9, held * FLOAT / 1e9
    return (
        f"about {total:.1f} GB: {own:.2f} of weights and what trains them, the rest for batches of "
        f"{size} rows of {tokens} tokens"
    )
