import pytest

from said_lightning.runs.labels import model_label, projection_label, rate_label

RULE = {"full_lr": 1e-4, "step_ratio": 3}


def test_a_model_is_named_with_the_layers_that_are_kept() -> None:
    assert model_label({"name": "minilm", "layers": None}) == "minilm"
    assert model_label({"name": "bert-20k", "layers": 4}) == "bert-20k-4-layers"


def test_a_projection_is_named_with_its_options_and_whether_d_grows() -> None:
    assert projection_label({"name": "fastfood", "block": None}, {}) == "fastfood"
    assert projection_label({"name": "released", "gradient": "exact"}, {}) == "released-exact"
    assert projection_label({"name": "fastfood"}, {"grow_from": 10}) == "fastfood-nested"


@pytest.mark.parametrize(
    ("method", "lr", "expected"),
    [("said", None, (None, 3e-4)), ("said", 0.1, (0.1, None)), ("full", None, (1e-4, None))],
)
def test_a_rate_is_the_given_one_or_what_the_rule_computes_it_from(
    method: str, lr: float | None, expected: tuple[float | None, float | None]
) -> None:
    found = rate_label(lr, method, RULE)
    assert (found["lr"], found["rule"]) == pytest.approx(expected)
