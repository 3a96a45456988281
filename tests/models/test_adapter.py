"""Methods of PEFT: their numbers are counted as PEFT counts them, and each mistake is a line."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor

from said_lightning.config.ladder import Ladder, Rung
from said_lightning.config.schema import AdapterConfig, ModelConfig
from said_lightning.data.task import TaskConfig
from said_lightning.errors import UserError
from said_lightning.models.adapter import adapt, config_class, ladder, wrap
from said_lightning.models.encoder import load, outline

TASK = TaskConfig(name="mine", labels=["a", "b"], max_length=16)
HEAD = 16 * 2 + 2
# Of the tiny encoder's 4 queries and values of 16 x 16: the least value, its count, and the step.
KNOBS = {
    "LORA": ("r", 128, 128),
    "VERA": ("r", 4 * 17, 4),
    "UNILORA": ("theta_d_length", 1, 1),
    "TINYLORA": ("u", 4, 4),
    "FOURIERFT": ("n_frequency", 4, 4),
    "PROMPT_TUNING": ("num_virtual_tokens", 16, 16),
}


def method(kind: str, knob: str | None = "r", **facts: Any) -> AdapterConfig:
    return AdapterConfig(type=kind, knob=knob, **facts)


@pytest.fixture
def shape(encoder: Path) -> Any:
    return outline(ModelConfig(name="tiny", path=str(encoder)), TASK).model


@pytest.fixture
def loaded(encoder: Path) -> Any:
    return load(ModelConfig(name="tiny", path=str(encoder)), TASK, 0)


@pytest.mark.parametrize("head", ["trained", "frozen"])
@pytest.mark.parametrize("kind", KNOBS)
def test_each_value_of_the_knob_trains_the_numbers_that_peft_counts(
    kind: str, head: str, shape: Any, encoder: Path
) -> None:
    knob, least, step = KNOBS[kind]
    adapter = method(kind, knob, head=head)
    beside = HEAD if head == "trained" else 0
    found = ladder(shape, adapter)
    assert found.head == beside
    assert list(found.counts[:3]) == [least + beside + i * step for i in range(3)]
    for value in (1, 3):
        fresh = load(ModelConfig(name="tiny", path=str(encoder)), TASK, 0).model
        wrapped = wrap(fresh, adapter, value)
        trained, _ = wrapped.get_nb_trainable_parameters()
        assert trained == found.counts[found.values.index(value)]


def test_a_d_takes_the_nearest_size_in_factors_and_the_lower_of_equals() -> None:
    sizes = Ladder(range(1, 4), [100, 400, 900], 10)
    asked = [1, 100, 199, 200, 201, 599, 601, 10**9]
    assert [sizes.nearest(d).value for d in asked] == [1, 1, 1, 1, 2, 2, 3, 3]
    assert sizes.nearest(350) == Rung(2, 400, 10)


def test_counts_that_rise_unevenly_are_counted_one_by_one(shape: Any) -> None:
    found = ladder(shape, method("PSOFT", "r", head="frozen"))
    steps = {b - a for a, b in zip(found.counts, found.counts[1:], strict=False)}
    assert len(steps) > 1
    assert list(found.counts) == sorted(set(found.counts))


def test_a_method_without_a_knob_has_one_size(shape: Any) -> None:
    adapter = method("LN_TUNING", None, options={"target_modules": ["LayerNorm"]}, head="frozen")
    norms = 5 * 2 * 16
    assert ladder(shape, adapter).nearest(7) == Rung(None, norms, 0)


def test_values_that_peft_refuses_are_left_out(shape: Any) -> None:
    # Its r has to be a multiple of k = 2.
    assert list(ladder(shape, method("GRALORA", head="frozen")).values[:3]) == [2, 4, 6]


def weights(wrapped: Any) -> dict[str, Tensor]:
    return {name: one.detach().clone() for name, one in wrapped.named_parameters()}


def test_the_run_s_seed_alone_draws_the_adapter(encoder: Path) -> None:
    def drawn(seed: int, noise: int) -> dict[str, Tensor]:
        torch.manual_seed(noise)
        model = load(ModelConfig(name="tiny", path=str(encoder)), TASK, 0).model
        adapter = method("VERA", options={"projection_prng_key": 5} if seed == 7 else {})
        adapted = adapt(model, adapter, 200, seed, frozenset())
        tuner = adapted.model.base_model
        return weights(adapted.model) | {"A": tuner.vera_A["default"].clone()}

    first, again, other = drawn(0, 1), drawn(0, 2), drawn(1, 1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["A"], other["A"])
    assert torch.equal(drawn(7, 1)["A"], drawn(5, 1)["A"])


def test_what_no_checkpoint_holds_is_saved_beside_the_adapter(loaded: Any, tmp_path: Path) -> None:
    new = frozenset({"bert.pooler.dense.weight", "bert.pooler.dense.bias", *loaded.new})
    wrapped, rung = adapt(loaded.model, method("LORA"), 1, 0, new)
    wrapped.save_pretrained(tmp_path)
    saved = peft.load_peft_weights(str(tmp_path))
    assert {"bert.pooler.dense.weight", "classifier.weight"} <= {
        name.removeprefix("base_model.model.") for name in saved
    }
    assert rung.d == 128 + HEAD


MISTAKES: list[tuple[AdapterConfig, list[str]]] = [
    (method("LORRA"), ["method.peft.type=LORRA: PEFT has no such type; did you mean 'LORA'?"]),
    (
        method("UNILORA", "theta_length", options={"alpha": 3, "task_type": "SEQ_CLS"}),
        [
            "method.peft.knob=theta_length: UNILORA has no such keyword; did you mean "
            "'theta_d_length'?",
            "method.peft.options.alpha: UNILORA has no such keyword; expected ",
            "method.peft.options.task_type: the run decides it; method.peft.head=trained or frozen",
        ],
    ),
    (
        method("LORA", options={"lora_alfa": 3}),
        ["method.peft.options.lora_alfa: LORA has no such keyword; did you mean 'lora_alpha'?"],
    ),
]


@pytest.mark.parametrize(("adapter", "expected"), MISTAKES)
def test_every_mistake_in_a_method_is_a_line(adapter: AdapterConfig, expected: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        config_class(adapter)
    for line, start in zip(caught.value.messages, expected, strict=True):
        assert line.startswith(start)


REFUSED = [
    (method("LORA", "lora_alpha"), "method.peft.knob=lora_alpha: the numbers that LORA trains do "),
    (
        method("LORA", options={"target_modules": ["no"]}),
        "method.peft: PEFT refuses LORA with r=1: ",
    ),
    (
        method("C3A", "block_size", options={"block_size_pattern": 3}),
        "method.peft: PEFT refuses C3A",
    ),
]


@pytest.mark.parametrize(("adapter", "start"), REFUSED)
def test_what_peft_refuses_is_one_line(adapter: AdapterConfig, start: str, shape: Any) -> None:
    with pytest.raises(UserError) as caught:
        ladder(shape, adapter)
    (line,) = caught.value.messages
    assert line.startswith(start)
    assert "\n" not in line
