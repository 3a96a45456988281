"""A model with an adapter of PEFT in it, and how many numbers each size of the adapter trains."""

import inspect
import warnings
from collections.abc import Callable, Set
from copy import deepcopy
from dataclasses import fields
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel

from said_lightning.config.ladder import Ladder, Rung
from said_lightning.config.schema import AdapterConfig
from said_lightning.errors import UserError, needs, suggestion
from said_lightning.models.encoder import reason_of
from said_lightning.models.head import head_of
from said_lightning.projections.core import random

# Where PEFT draws what stays fixed, such as VeRA's A and B, from a seed: the run's, as P's is.
SEEDS = ("projection_prng_key", "proj_seed", "projection_seed", "random_loc_seed", "random_seed")
# What the run decides.
OURS = {"peft_type", "task_type", "inference_mode", "modules_to_save", "base_model_name_or_path"}
# The smallest value of a knob is one of the first; counts are a line where these lie on it, and
# else as many values are counted one by one.
FIRST, ON_A_LINE, MOST = 16, (1, 2, 7, 31), 256
SAVED = ".modules_to_save."


class Adapted(NamedTuple):
    """PEFT's model around one with an adapter in it, and the size of the adapter."""

    model: Any
    rung: Rung


def describe(adapter: AdapterConfig, rung: Rung) -> str:
    """Return a size in words: 9,986 = LORA with r=1 (9,216) + the head (770)."""
    size = "" if rung.value is None else f" with {adapter.knob}={rung.value}"
    head = f" + the head ({rung.head:,})" if rung.head else ""
    return f"{rung.d:,} = {adapter.type}{size} ({rung.d - rung.head:,}){head}"


def config_class(adapter: AdapterConfig) -> type[Any]:
    """Return PEFT's config of a type.

    Raise UserError, with everything that is wrong, where PEFT has none, or where it lacks the knob
    or one of the options.
    """
    kinds = needs("peft", "lora", "method.name=peft").PEFT_TYPE_TO_CONFIG_MAPPING
    kinds = {str(getattr(name, "value", name)): kind for name, kind in kinds.items()}
    if adapter.type not in kinds:
        near = suggestion(str(adapter.type), sorted(kinds))
        raise UserError(f"method.peft.type={adapter.type}: PEFT has no such type{near}")
    kind: type[Any] = kinds[adapter.type]
    keys = sorted({field.name for field in fields(kind)} - OURS)
    wrong = []
    if adapter.knob is not None and adapter.knob not in keys:
        near = suggestion(adapter.knob, keys)
        wrong.append(f"method.peft.knob={adapter.knob}: {adapter.type} has no such keyword{near}")
    for key in adapter.options:
        if key in OURS:
            wrong.append(
                f"method.peft.options.{key}: the run decides it; method.peft.head=trained or frozen"
                " says what becomes of the head"
            )
        elif key not in keys:
            near = suggestion(key, keys)
            wrong.append(f"method.peft.options.{key}: {adapter.type} has no such keyword{near}")
    if wrong:
        raise UserError(*wrong)
    return kind


def wrap(
    model: PreTrainedModel,
    adapter: AdapterConfig,
    value: int | None,
    seed: int = 0,
    new: Set[str] = frozenset(),
) -> Any:
    """Put an adapter into a model, in place, and return PEFT's model around both.

    What PEFT draws comes from torch's generator on the CPU, which the run's seed alone seeds. The
    head is saved with the adapter whether it is trained or not, and so is what else no checkpoint
    holds (`new`). Raise UserError where PEFT lacks the type or a keyword, or refuses a value.
    """
    kind = config_class(adapter)
    options = dict(adapter.options) | ({} if adapter.knob is None else {adapter.knob: value})
    takes = {field.name for field in fields(kind)}
    options = {name: seed for name in SEEDS if name in takes} | options
    head = _top(head_of(model))
    if "modules_to_save" in takes:
        beside = {name.rpartition(".")[0] for name in new - head_of(model)}
        options["modules_to_save"] = sorted(head | beside) or None
    # The project's own classifiers, T5's and those by prompts, take less than PEFT's gives.
    if "inputs_embeds" in inspect.signature(model.forward).parameters:
        options["task_type"] = "SEQ_CLS"
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            torch.manual_seed(random.key(seed, "adapter", "start")[0])
            wrapped = needs("peft", "lora", "PEFT").get_peft_model(model, kind(**options))
    except Exception as error:  # of any kind, by what PEFT makes of its keywords
        size = "" if adapter.knob is None else f" with {adapter.knob}={value}"
        reason = reason_of(error)
        raise UserError(f"method.peft: PEFT refuses {adapter.type}{size}: {reason}") from None
    for name, weight in wrapped.named_parameters():
        if SAVED in name:
            weight.requires_grad_(adapter.head == "trained" and _of(head, name))
    return wrapped


def adapt(
    model: PreTrainedModel, adapter: AdapterConfig, d: int, seed: int, new: Set[str]
) -> Adapted:
    """Put the adapter into a model, in place, whose size is nearest to d.

    Raise UserError as `wrap`, and where it does not train as many numbers as its size says.
    """
    with torch.device("meta"):
        shape = type(model)(model.config)
    rung = ladder(shape, adapter).nearest(d)
    head = _top(head_of(model))
    wrapped = wrap(model, adapter, rung.value, seed, new)
    if (found := _trained(wrapped, head)) != (rung.d, rung.head):
        raise UserError(
            f"method.peft: {adapter.type} with {adapter.knob}={rung.value} trains {found[0]:,} "
            f"numbers; expected {rung.d:,}, as its smallest sizes have it; give another knob or d"
        )
    return Adapted(wrapped, rung)


def ladder(shape: PreTrainedModel, adapter: AdapterConfig) -> Ladder:
    """Count what each value of the knob trains, of a model without weights; at most its weights.

    Counted once for each kind of model and adapter. Raise UserError as `config_class`, where PEFT
    refuses every value, and where the counts do not rise with the knob.
    """
    key = repr((type(shape), shape.config.to_json_string(use_diff=False), adapter))
    if key not in _ladders:
        _ladders[key] = _counted(shape, adapter)
    return _ladders[key]


_ladders: dict[str, Ladder] = {}


def _counted(shape: PreTrainedModel, adapter: AdapterConfig) -> Ladder:
    head = _top(head_of(shape))
    most = sum(weight.numel() for weight in shape.parameters())

    def count(value: int | None) -> tuple[int, int]:
        return _trained(wrap(deepcopy(shape), adapter, value), head)

    if adapter.knob is None:
        d, of_head = count(None)
        return Ladder([None], [d], of_head)
    first, (low, of_head) = _first(count)
    second = _tried(count, first + 1)
    step = second[0] - low if second else 0
    on_a_line = step > 0 and all(
        (found := _tried(count, first + more)) and found[0] == low + more * step
        for more in ON_A_LINE
    )
    if on_a_line:
        values = range(first, first + 1 + max(most - low, 0) // step)
        return Ladder(values, range(low, low + step * len(values), step), of_head)
    counts = {low: first}
    for value in range(first + 1, first + MOST):
        found = _tried(count, value)
        if found and max(counts) < found[0] <= most:
            counts[found[0]] = value
    if len(counts) == 1:
        raise UserError(
            f"method.peft.knob={adapter.knob}: the numbers that {adapter.type} trains do not rise "
            "with it; expected a keyword that sets the size, or null for the one size there is"
        )
    return Ladder(list(counts.values()), list(counts), of_head)


def _first(count: Callable[[int], tuple[int, int]]) -> tuple[int, tuple[int, int]]:
    """Return the least value of a knob that PEFT takes, and its count; raise what 1 raises."""
    for value in range(1, FIRST):
        if found := _tried(count, value):
            return value, found
    return 1, count(1)


def _tried(count: Callable[[int], tuple[int, int]], value: int) -> tuple[int, int] | None:
    """Return the count of a value, None where PEFT refuses it."""
    try:
        return count(value)
    except UserError:
        return None


def _trained(wrapped: nn.Module, head: Set[str]) -> tuple[int, int]:
    """Return how many numbers are trained, and how many of them are the head's."""
    sizes = {name: one.numel() for name, one in wrapped.named_parameters() if one.requires_grad}
    return sum(sizes.values()), sum(size for name, size in sizes.items() if _of(head, name))


def _top(names: Set[str]) -> set[str]:
    """Return the modules at a model's top that hold tensors."""
    return {name.partition(".")[0] for name in names}


def _of(head: Set[str], name: str) -> bool:
    """Return whether a tensor of PEFT's model is the head's, of which PEFT trains a copy."""
    return any(f"{one}{SAVED}" in name for one in head)
