"""A state comes back as it was, and is not copied to be written."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import torch as safetensors

from said_lightning.training.packing import DTYPES, pack, unpack

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.text()
)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Draw a tensor of any shape, empty and of one number too, and of any kind of numbers."""
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    return (
        torch.arange(27)[: torch.Size(shape).numel()]
        .reshape(shape)
        .to(draw(st.sampled_from([*DTYPES])))
    )


STATES = st.dictionaries(
    st.text(),
    st.recursive(
        LEAVES | tensors(),
        lambda node: st.lists(node) | st.dictionaries(st.text() | st.integers(), node),
        max_leaves=8,
    ),
)


def same(one: Any, other: Any) -> bool:
    """Return whether two states are equal, tensors by their bits and kinds."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@given(STATES)
def test_a_state_comes_back_as_it_was(state: dict[str, Any]) -> None:
    assert same(state, unpack(b"".join(pack(state))))


@given(st.lists(tensors(), max_size=4))
def test_its_numbers_stand_where_safetensors_has_them(state: list[torch.Tensor]) -> None:
    found = safetensors.load(b"".join(pack({"all": state})))
    assert same(state, [found[str(index)] for index in range(len(state))])


def test_a_tensors_part_is_its_memory() -> None:
    state = {"weights": torch.zeros(2, 3), "step": torch.tensor(7)}
    _, *parts = pack(state)
    state["weights"][0] = 1.0
    state["step"].fill_(8)
    assert bytes(parts[0]) == state["step"].numpy().tobytes()
    assert bytes(parts[1]) == state["weights"].numpy().tobytes()


def test_what_is_no_state_is_refused() -> None:
    with pytest.raises(TypeError):
        pack({"a": object()})
    with pytest.raises(KeyError):
        pack({"a": torch.zeros(1, dtype=torch.complex64)})
