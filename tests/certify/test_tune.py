"""A codebook and the numbers that it rounds are fine-tuned together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from said_lightning.artifact.coding import Coded, decode
from said_lightning.artifact.export import from_run
from said_lightning.certify.certify import finished
from said_lightning.certify.quantise import SHARE, Tuner, lloyd, quantise, tune
from said_lightning.certify.rebuilt import rebuild


def test_a_run_whose_d_grew_is_fine_tuned_at_its_own_rate(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = Tuner.on_before_optimizer_step

    def watched(self: Tuner, optimizer: Any) -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        step(self, optimizer)

    monkeypatch.setattr(Tuner, "on_before_optimizer_step", watched)
    config, record = finished(trained)
    rebuilt = rebuild(config, record, from_run(trained))
    assert config.lr is not None
    config.trainer.grow_from = 6
    tune(config, rebuilt, lloyd(rebuilt.values, 3), 2)
    assert max(rates) == pytest.approx(SHARE * config.lr)


def test_fine_tuning_moves_the_levels_and_no_weight_is_left_behind(trained: Path) -> None:
    config, record = finished(trained)
    rebuilt = rebuild(config, record, from_run(trained))
    codebook = lloyd(rebuilt.values, 3)
    plain = quantise(rebuilt.values, codebook)
    tuned = tune(config, rebuilt, codebook, 1)
    assert not np.array_equal(decode(plain), decode(tuned))
    rebuilt.hold(rebuilt.values)
    again = rebuild(config, record, from_run(trained))
    again.hold(again.values)
    for one, other in zip(rebuilt.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_fine_tuning_lowers_the_loss_of_a_coarse_message(trained: Path) -> None:
    config, record = finished(trained)
    rebuilt = rebuild(config, record, from_run(trained))

    @torch.no_grad()
    def loss(coded: Coded) -> float:
        rebuilt.hold(decode(coded))
        batches = rebuilt.data.in_order(rebuilt.data.train_set)
        losses = [rebuilt.model.eval()(**batch).loss.item() for batch in batches]
        rebuilt.model.train()
        return sum(losses) / len(losses)

    codebook = lloyd(rebuilt.values, 4)
    plain = loss(quantise(rebuilt.values, codebook))
    assert loss(tune(config, rebuilt, codebook, 1)) < plain
