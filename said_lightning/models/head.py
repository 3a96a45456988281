"""A classifier's head: new, drawn from a run's seed, or the checkpoint's own, its labels by name.

The head is what lies outside the encoder, transformers' `base_model_prefix`: its last linear map
has an output for each label.
"""

from collections.abc import Sequence, Set

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from said_lightning.config.schema import ModelConfig
from said_lightning.data.task import TaskConfig
from said_lightning.errors import UserError
from said_lightning.models.prompted import Prompted
from said_lightning.projections.core import random
from said_lightning.subspace.groups import split_head

PURPOSE = "head"  # keeps a head's starting values apart from P's draws


def head_of(model: PreTrainedModel) -> set[str]:
    """Return the names of the head's tensors, none where prompts are answered."""
    if isinstance(model, Prompted):
        return set()
    return set(split_head(model, "outside")[1])


@torch.no_grad()
def start_head(model: PreTrainedModel, names: Set[str], seed: int) -> None:
    """Draw weights that no checkpoint gives from (seed, name), the same on every machine.

    Matrices are normal with the config's initializer_range, biases 0, a head's norms 1; norms of
    the encoder keep what they are made with.
    """
    spread = getattr(model.config, "initializer_range", 0.02)
    head = head_of(model)
    for name, weight in model.named_parameters():
        if name not in names:
            continue
        if weight.dim() > 1:
            halves = random.half_words(random.key(seed, name, PURPOSE), 0, weight.numel())
            weight.copy_(random.normals(halves, weight.dtype).view_as(weight) * spread)
        elif name.endswith("bias"):
            weight.zero_()
        elif name in head:
            weight.fill_(1)


def kept_order(stored: PretrainedConfig, model: ModelConfig, task: TaskConfig) -> list[int]:
    """Return the checkpoint's output for each label of the task, in the task's order.

    Labels match by their names, in any case of letters; a regression has one output. Raise
    UserError where they do not match.
    """
    outputs = stored.id2label or {}
    if task.kind == "regression" and len(outputs) == 1:
        return [0]
    held = {str(name).casefold(): int(output) for output, name in outputs.items()}
    wanted = [label.casefold() for label in task.labels]
    if not wanted or set(held) != set(wanted) or len(held) < len(outputs):
        raise UserError(
            f"model.head=keep: the checkpoint's head is for {', '.join(map(str, outputs.values()))}"
            f"; expected {', '.join(task.labels) or 'one score'}, as task={task.name} has; "
            "model.head=new draws a new one"
        )
    return [held[label] for label in wanted]


@torch.no_grad()
def keep_head(model: PreTrainedModel, order: Sequence[int]) -> None:
    """Put the outputs of a checkpoint's head into the order of the task's labels, in place."""
    head = head_of(model)
    outputs = [
        part
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear)
        and f"{name}.weight" in head
        and part.out_features == len(order)
    ]
    for weight in outputs[-1].parameters():
        weight.copy_(weight[list(order)])


def head_label(model: ModelConfig, task: TaskConfig, seed: int, held: bool | None = None) -> str:
    """Return whose head a run begins with; `held`: whether the checkpoint has one, if known."""
    if task.prompted:
        what = "a label is the tokens that follow" if task.kind == "prompt" else "text follows"
        return f"none: {what} a prompt"
    if model.head == "keep":
        return "kept from the checkpoint, labels by name"
    return f"new, drawn from seed {seed}" + (", not the checkpoint's" if held else "")
