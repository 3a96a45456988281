"""The learning-rate rule holds a step's length."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from said_lightning.config.schema import TrainerConfig
from said_lightning.subspace.lr_rule import FULL_LR, STEP_RATIO, learning_rate

rates = st.floats(1e-7, 1.0)
ratios = st.floats(1e-2, 1e3)


@given(D=st.integers(1, 10**10), share=st.floats(0, 1), full_lr=rates, step_ratio=ratios)
def test_a_step_is_step_ratio_times_as_long_as_full_fine_tunings(
    D: int, share: float, full_lr: float, step_ratio: float
) -> None:
    d = max(1, round(share * D))
    lr = learning_rate(d, D, full_lr, step_ratio)
    assert lr * math.sqrt(d) == pytest.approx(step_ratio * full_lr * math.sqrt(D), rel=1e-12)


def test_all_weights_at_ratio_1_get_the_full_rate() -> None:
    assert learning_rate(10**6, 10**6, 5e-5, 1.0) == 5e-5


def test_the_defaults_are_those_of_a_run() -> None:
    assert (TrainerConfig().full_lr, TrainerConfig().step_ratio) == (FULL_LR, STEP_RATIO)
