"""What may be asked of a search (hydra/sweeper=d90), and what is wrong with what was asked."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

# What a search chooses for each run, and what it chooses unless it is given, but once for all.
SEARCHED = ("d", "seed", "trainer.stop_at", "trainer.grow_from")
RATES = ("lr", "trainer.step_ratio")


def is_number(value: object) -> bool:
    """Whether a value is a number, and finite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: object, least: int = 1) -> bool:
    """Whether a value is an integer of at least so much."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def are_rates(value: object) -> bool:
    """Whether a value is a list of different numbers above 0."""
    if not isinstance(value, list) or not all(is_number(rate) and rate > 0 for rate in value):
        return False
    return 0 < len(value) == len(set(value))


# For each key, what is expected, in words and as a test.
EXPECTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "low": ("an integer, at least 1", is_count),
    "high": ("an integer, at least 1", is_count),
    "seeds": ("an integer, at least 1", is_count),
    "rates": ("a list of different numbers above 0, such as [1,3]", are_rates),
    "budget": ("an integer, at least 1", is_count),
    "tolerance": ("a number above 1", lambda value: is_number(value) and value > 1),
    "batch": ("an integer, at least 1", is_count),
    "to_the_end": ("true or false", lambda value: isinstance(value, bool)),
    "corrected": ("true or false", lambda value: isinstance(value, bool)),
    "nested": (
        "an integer, at least 2, or null for a search",
        lambda value: value is None or is_count(value, 2),
    ),
}


def settings_mistakes(sweeper: Any) -> list[str]:
    """Tells what is wrong with the values of hydra.sweeper."""
    values: Any = OmegaConf.to_container(sweeper, resolve=True)
    found = []
    for key, (expected, fits) in EXPECTED.items():
        if not fits(values[key]):
            found.append(f"hydra.sweeper.{key}={values[key]}: expected {expected}")
    low, high = values["low"], values["high"]
    if is_count(low) and is_count(high) and low >= high:
        found.append(f"hydra.sweeper.low={low}: expected less than high={high}")
    return found


def chosen_mistakes(overrides: Iterable[Override], params: Mapping[str, Any]) -> Iterator[str]:
    """Tells which overrides, or keys of an experiment's own sweep, leave a search no choice."""
    compared = "a search has one for all its runs; hydra.sweeper.rates compares factors on it"
    for override in overrides:
        key, text = override.key_or_group, override.input_line
        if key in SEARCHED:
            yield f"{text}: hydra/sweeper=d90 chooses this; leave it out"
        elif override.is_sweep_override() and key in RATES:
            yield f"{text}: {compared}"
        elif override.is_sweep_override() and key.startswith("hydra."):
            yield f"{text}: expected one value; a list is written [1,3]"
    for key in RATES:
        if key in params:
            yield f"hydra.sweeper.params.{key}: {compared}"
