"""The same config gives the same numbers to the bit, and dropout is on while it trains."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from said_lightning.training.module import Classifier
from said_lightning.training.run import run

Train = Callable[..., dict[str, Tensor]]


@pytest.fixture
def train(compose: Any, tmp_path: Path) -> Train:
    """Return what a run trained; every call trains anew."""
    calls = iter(range(100))

    def numbers(*overrides: str) -> dict[str, Tensor]:
        spec = compose(tmp_path / str(next(calls)), "trainer.epochs=1", *overrides)
        assert run(spec).status == "done"
        (file,) = (spec.folder / "checkpoint").glob("*.safetensors")
        found: dict[str, Tensor] = load_file(file)
        return found

    return numbers


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two sets of tensors are equal in every bit."""
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", ["said", "did", "full"])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(
    train: Train, method: str
) -> None:
    first, other, again = (train(f"method={method}", f"seed={seed}") for seed in (0, 1, 0))
    assert same(first, again)
    assert not same(first, other)


def test_seed_0_is_a_seed(train: Train) -> None:
    """It is the default, and chance outside has no part in it."""
    torch.manual_seed(5)
    first = train("seed=0")
    torch.manual_seed(6)
    assert same(first, train())


def test_where_data_lie_and_what_is_logged_change_no_bit(train: Train, glue: Path) -> None:
    assert same(train(), train("logger=csv", f"task.data_dir={glue / 'SST-2'}"))


@pytest.mark.parametrize("own", [["method=full"], ["d=50"], ["d=50", "projection=kronecker"]])
def test_layers_that_are_computed_again_change_no_bit(train: Train, own: list[str]) -> None:
    assert same(train(*own), train(*own, "trainer.activation_checkpointing=true"))


@pytest.mark.parametrize("method", ["said", "full"])
def test_dropout_is_on_in_every_training_step_and_off_in_evaluation(
    train: Train, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[tuple[str, set[bool]]] = []

    def watch(name: str) -> None:
        original = getattr(Classifier, name)

        def watched(self: Classifier, batch: Any, index: int) -> Any:
            modes.append((name, {part.training for part in self.model.modules()}))
            return original(self, batch, index)

        monkeypatch.setattr(Classifier, name, watched)

    watch("training_step")
    watch("validation_step")
    train(f"method={method}", "trainer.epochs=2")
    epoch = [("training_step", {True})] * 3 + [("validation_step", {False})]
    assert modes == epoch * 2
