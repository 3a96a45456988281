"""The bounds agree with closed forms, and never promise more for less."""

from math import exp, log, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from said_lightning.certify.bounds import catoni, certified, inverse, kl, kl_inverse, nats, rate
from said_lightning.certify.recompute import by_bisection, by_grid

BOUNDS = pytest.mark.parametrize("bound", [catoni, kl_inverse])
errors = st.floats(0, 1)
rows = st.integers(8, 10**6)
divergences = st.floats(0, 1e4)
# The solvers' own tolerance, in `inverse`.
SOLVED = 2e-12


@BOUNDS
@given(errors, rows, divergences)
def test_no_bound_is_below_the_train_error(bound, error, n, divergence) -> None:  # type: ignore[no-untyped-def]
    assert error <= bound(error, n, divergence, 0.05) <= 1


@BOUNDS
@given(errors, errors, rows, divergences)
def test_more_errors_give_no_better_bound(bound, one, other, n, divergence) -> None:  # type: ignore[no-untyped-def]
    low, high = sorted((one, other))
    assert bound(low, n, divergence, 0.05) <= bound(high, n, divergence, 0.05) + SOLVED


@BOUNDS
@given(errors, rows, divergences, divergences)
def test_a_longer_message_gives_no_better_bound(bound, error, n, one, other) -> None:  # type: ignore[no-untyped-def]
    low, high = sorted((one, other))
    assert bound(error, n, low, 0.05) <= bound(error, n, high, 0.05) + SOLVED


@BOUNDS
@given(errors, rows, rows, divergences)
def test_more_rows_give_no_worse_bound(bound, error, one, other, divergence) -> None:  # type: ignore[no-untyped-def]
    few, many = sorted((one, other))
    assert bound(error, many, divergence, 0.05) <= bound(error, few, divergence, 0.05) + SOLVED


@BOUNDS
@given(errors, rows, divergences)
def test_more_confidence_gives_no_better_bound(bound, error, n, divergence) -> None:  # type: ignore[no-untyped-def]
    assert bound(error, n, divergence, 0.05) <= bound(error, n, divergence, 0.01) + SOLVED


@given(rows, divergences)
def test_without_an_error_the_kl_bound_has_a_closed_form(n: int, divergence: float) -> None:
    c = (divergence + log(2 * sqrt(n) / 0.05)) / n
    assert kl_inverse(0.0, n, divergence, 0.05) == pytest.approx(1 - exp(-c), abs=1e-12)


# Below, rounding in the divergence itself is more than is asked for.
@given(st.floats(1e-6, 1 - 1e-6), st.floats(1e-6, 10))
def test_the_inverse_keeps_to_pinskers_and_undoes_the_divergence(q: float, c: float) -> None:
    p = inverse(q, c)
    assert q <= p <= q + sqrt(c / 2) + SOLVED
    if 0 < q < p < 1 - 1e-9:
        assert kl(q, p - SOLVED) <= c + 1e-12
        assert kl(q, min(p + SOLVED, 1)) >= c - 1e-12


def test_half_the_rows_wrong_has_a_closed_form() -> None:
    # kl(1/2 || p) = c is p (1 - p) = exp(-2 c) / 4.
    for c in (0.001, 0.1, 1.0):
        assert inverse(0.5, c) == pytest.approx((1 + sqrt(1 - exp(-2 * c))) / 2, abs=1e-11)


def test_too_few_rows_bound_nothing() -> None:
    assert kl_inverse(0.0, 7, 0.0, 0.05) == 1


@given(errors, rows, divergences)
def test_catoni_is_no_better_than_its_formula_at_the_best_gamma(
    error: float, n: int, divergence: float
) -> None:
    # What no choice of gamma and no price for it can beat: the divergence itself, kl-inverted.
    assert catoni(error, n, divergence, 0.05) >= inverse(error, divergence / n) - SOLVED


def test_catoni_at_one_gamma_is_the_published_formula() -> None:
    # By hand: gamma = n, error 0.1, 100 nats, 1,000 rows, at alpha = 0.01.
    n, alpha = 1000, 0.01
    q = 0.1 + (1 + alpha) / n * (100 + log(3 / 0.05) + 2 * log(2 + log(n) / log(1 + alpha)))
    at_n = (1 - exp(-q)) / (1 - exp(-1))
    assert 0.29 < catoni(0.1, n, 100.0, 0.05) <= at_n


@given(errors, rows, st.floats(0, 1e4))
def test_both_bounds_share_the_chance_of_failure(error: float, n: int, length: float) -> None:
    assert certified(error, n, length, 0.05) == (
        catoni(error, n, nats(length), 0.025),
        kl_inverse(error, n, nats(length), 0.025),
    )


@settings(max_examples=30, deadline=None)
@given(errors, rows, st.floats(0, 1e4))
def test_the_verifiers_own_bounds_are_the_same(error: float, n: int, length: float) -> None:
    ours = certified(error, n, length, 0.05)
    theirs = by_grid(error, n, length, 0.05), by_bisection(error, n, length, 0.05)
    assert theirs == pytest.approx(ours, abs=1e-11)


def test_theorem_1_is_shown_without_its_constants() -> None:
    assert rate(100, 10_000) == 0.1
