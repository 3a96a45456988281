"""The budget: d counts every trained number, and impossible ones are refused with a reason."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from said_lightning.errors import UserError
from said_lightning.subspace.groups import budget, validate_budget
from said_lightning.subspace.subspace import Subspace


@pytest.mark.parametrize(
    ("options", "m"),
    [
        ({"method": "did"}, 0),
        ({"method": "said"}, 4),
        ({"method": "said", "groups": "tensor"}, 41),
        ({"method": "said", "head": "outside"}, 4),
    ],
)
def test_d_is_theta_and_lambda_together(make_model: Any, options: dict[str, Any], m: int) -> None:
    subspace = Subspace(make_model(), 50, **options)
    assert (subspace.d, subspace.m) == (50, m)
    assert subspace.theta.numel() == 50 - m
    assert sum(numbers.numel() for numbers in subspace.numbers()) == 50


def test_d_as_small_as_m_is_refused_and_one_more_is_not(make_model: Any) -> None:
    message = "d=4: expected at least 5, since SAID takes its m=4 lambdas out of d"
    with pytest.raises(UserError) as caught:
        Subspace(make_model(), 4)
    assert caught.value.messages == (message,)
    assert Subspace(make_model(), 5).theta.numel() == 1


def test_d_above_the_number_of_weights_is_refused_and_all_of_them_are_not(make_model: Any) -> None:
    _, D = budget(make_model(), "did", "layer", "inside")
    message = f"d={D + 1}: the model has only D={D:,} trainable weights; d can be at most {D}"
    with pytest.raises(UserError) as caught:
        Subspace(make_model(), D + 1, method="did")
    assert caught.value.messages == (message,)
    assert Subspace(make_model(), D, method="did").theta.numel() == D


def test_did_takes_no_scales_out_of_d(make_model: Any) -> None:
    with pytest.raises(UserError, match=r"^d=0: expected at least 1$"):
        Subspace(make_model(), 0, method="did")
    assert Subspace(make_model(), 1, method="did").theta.numel() == 1


@given(d=st.integers(-5, 10**6), m=st.integers(0, 50), D=st.integers(51, 10**6))
def test_a_budget_is_refused_exactly_outside_its_limits(d: int, m: int, D: int) -> None:
    assert bool(validate_budget(d, m, D)) == (not m < d <= D)


def test_a_head_outside_is_counted_apart(make_model: Any) -> None:
    inside, outside = Subspace(make_model(), 50), Subspace(make_model(), 50, head="outside")
    assert (inside.outside, outside.outside) == (0, 2 * 16 + 2)
    assert inside.D - outside.outside == outside.D


def test_a_tied_weight_is_counted_once(make_model: Any) -> None:
    model = make_model("tied")
    _, D = budget(model, "said", "layer", "inside")
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert sum(weight.numel() for weight in model.parameters()) == D
