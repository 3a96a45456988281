"""Which series are compared, and that nothing is said where nothing was measured."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from said_lightning.analysis.comparison import updates
from said_lightning.analysis.estimator import Row, estimate
from said_lightning.runs.record import CHOOSING, Record
from said_lightning.runs.scores import write_scores

MakeRun = Callable[..., Record]
MEANS = {50: 0.62, 100: 0.65, 200: 0.69, 400: 0.74, 800: 0.77}


def series(
    run: MakeRun, method: str = "did", factor: float = 1.0, seeds: int = 3, **facts: Any
) -> list[Record]:
    """Return runs that cross the threshold near 310, times `factor`."""
    return [
        run(method, mean + 0.008 * (seed - 1), d=round(d * factor), seed=seed, **facts)
        for d, mean in MEANS.items()
        for seed in range(seeds)
    ]


def full(run: MakeRun, seeds: int = 3, **facts: Any) -> list[Record]:
    return [run("full", 0.79 + seed / 100, seed=seed, **facts) for seed in range(seeds)]


def said_of(rows: list[Row]) -> list[tuple[str, str, str]]:
    """Return what is compared: over, of and to."""
    return [(one.over, one.of, one.to) for row in rows for one in row.comparisons]


def test_said_is_held_against_did_with_an_interval_of_its_own(run: MakeRun) -> None:
    did, said = estimate([*full(run), *series(run), *series(run, "said", 0.25)])
    assert did.comparisons == ()
    (one,) = said.comparisons
    assert (one.over, one.of, one.to, one.level) == ("method", "SAID", "DID", 0.9)
    assert one.ratio == pytest.approx(0.25, rel=0.02)
    low, high = one.interval
    assert low is not None
    assert high is not None
    assert low < 0.25 < high < 1
    assert one.sentence.startswith("SAID needs 0.25 [")
    # It is not read off two intervals: what both share is in neither end.
    apart = 1.0
    for row in (did, said):
        assert row.interval[0] is not None
        assert row.interval[1] is not None
        apart *= row.interval[1] / row.interval[0]
    assert high / low < 0.8 * apart


def test_two_that_need_as_much_show_no_difference(run: MakeRun) -> None:
    _, said = estimate([*full(run), *series(run), *series(run, "said")])
    (one,) = said.comparisons
    assert one.ratio == 1
    assert one.sentence.startswith("no difference can be shown between SAID and DID, down to")


def test_methods_of_peft_are_held_against_said_and_else_against_did(run: MakeRun) -> None:
    def adapter(name: str, **facts: Any) -> list[Record]:
        return series(run, name, projection=None, outside=770, **facts)

    peft = [*adapter("lora", method_hash="a"), *adapter("vera"), *full(run)]
    did = series(run, outside=0)
    said = [
        one
        for projection in ("fastfood", "partition")
        for one in series(run, "said", 0.5, projection=projection, outside=0)
    ]
    rows = estimate([*peft, *did, *said])
    found = [one for one in said_of(rows) if one[0] == "method"]
    assert found == [
        ("method", "LORA", "SAID"),
        ("method", "SAID", "DID"),
        ("method", "VERA", "SAID"),
    ]
    (lora,) = [one for row in rows if row.method == "lora" for one in row.comparisons]
    assert lora.ratio == pytest.approx(2, rel=0.05)
    assert said_of(estimate([*peft, *did])) == [
        ("method", "LORA", "DID"),
        ("method", "VERA", "DID"),
    ]
    assert said_of(estimate(peft)) == []


def test_methods_of_peft_that_are_made_of_other_parts_are_two_series(run: MakeRun) -> None:
    both = [
        one
        for made in ("3f2a", "77b0")
        for one in series(run, "lora", projection=None, method_hash=made)
    ]
    rows = estimate([*full(run), *both])
    assert [(row.method, row.variant) for row in rows] == [
        ("lora", "method 3f2a"),
        ("lora", "method 77b0"),
    ]


def test_an_option_of_a_projection_is_held_against_the_projection_without(run: MakeRun) -> None:
    names = ("fastfood", "kronecker-random", "kronecker-svd", "released-exact", "released-released")
    runs = {name: series(run, "said", projection=name) for name in names}
    every = said_of(estimate([*full(run), *(one for kind in runs.values() for one in kind)]))
    assert every == [
        ("projection", "kronecker-random", "fastfood"),
        ("projection", "kronecker-svd", "fastfood"),
        ("projection", "kronecker-svd", "kronecker-random"),
        ("projection", "released-exact", "fastfood"),
        ("projection", "released-released", "fastfood"),
        ("projection", "released-released", "released-exact"),
    ]
    two = [*runs["kronecker-random"], *runs["kronecker-svd"]]
    assert said_of(estimate([*full(run), *two])) == [
        ("projection", "kronecker-svd", "kronecker-random")
    ]


def test_what_differs_in_one_thing_is_compared_and_in_two_is_not(run: MakeRun) -> None:
    runs = [
        *series(run, "did", projection="fastfood"),
        *series(run, "did", projection="dense"),
        *series(run, "said", projection="dense"),
        *series(run, "did", projection="dense", space="lora"),
    ]
    assert said_of(estimate([*full(run), *runs])) == [
        ("projection", "dense", "fastfood"),
        ("space", "lora", "all"),
        ("method", "SAID", "DID"),
    ]


@pytest.mark.parametrize(
    "facts",
    [{"D": 5}, {"outside": 770}, {"data_sha256": "b"}, {"setting_hash": "b"}, {"task": "x"}],
)
def test_series_that_differ_in_a_fact_besides_are_not_compared(
    run: MakeRun, facts: dict[str, Any]
) -> None:
    base: dict[str, Any] = {"D": 10**6, "outside": 0, "data_sha256": "a", "setting_hash": "a"}
    runs = [*full(run, **base), *series(run, **base)]
    other = base | facts
    runs += [*full(run, **other), *series(run, "said", **other)]
    assert not [one for one in said_of(estimate(runs)) if one[0] == "method"]


def test_of_two_references_neither_is_one(run: MakeRun) -> None:
    variants = [*series(run, m=0), *series(run, m=1)]
    said = [*series(run, "said", m=8), *series(run, "said", m=4)]
    assert said_of(estimate([*full(run), *variants, *said])) == []
    (first, second) = said_of(estimate([*full(run), *series(run, m=0), *said]))
    assert first == second == ("method", "SAID", "DID")


def test_each_model_is_held_against_the_next_smaller_one(run: MakeRun) -> None:
    runs = [
        one
        for model, size, factor in (("a", 3 * 10**6, 1), ("b", 10**6, 4), ("c", 2 * 10**6, 2))
        for one in (
            *full(run, model=model, D=size),
            *series(run, "said", factor, model=model, D=size),
        )
    ]
    rows = estimate(runs)
    assert said_of(rows) == [("model", "a", "c"), ("model", "c", "b")]
    (found,) = [one for row in rows for one in row.correlations]
    assert (found.over, found.members, found.correlation) == ("model", ("b", "c", "a"), -1.0)
    assert found.sentence.startswith("d90 falls over D of 3 models: rank correlation -1.00 [")
    # On other data, models say nothing of each other.
    elsewhere = [replace(one, data_sha256=one.model) for one in runs]
    assert said_of(estimate(elsewhere)) == []


def test_steps_of_a_pre_training_are_held_against_the_one_before(run: MakeRun) -> None:
    runs = [
        one
        for step, factor in (("2k", 4.0), ("10k", 2.0), ("100k", 1.0))
        for one in (
            *full(run, model=f"own-{step}", step=step, D=10**6),
            *series(run, "said", factor, model=f"own-{step}", step=step, D=10**6),
        )
    ]
    rows = estimate(runs)
    assert said_of(rows) == [("step", "own-10k", "own-2k"), ("step", "own-100k", "own-10k")]
    (found,) = [one for row in rows for one in row.correlations]
    assert found.sentence.startswith("d90 falls over the steps of pre-training of 3 models")


def test_without_repeated_seeds_no_trend_and_no_interval_is_made_up(run: MakeRun) -> None:
    runs = [
        one
        for model, size, factor in (("a", 10**6, 4), ("b", 2 * 10**6, 2), ("c", 3 * 10**6, 1))
        for one in (
            *full(run, 1, model=model, D=size),
            *series(run, "said", factor, seeds=1, model=model, D=size),
        )
    ]
    rows = estimate(runs)
    assert [one for row in rows for one in row.correlations] == []
    for row in rows:
        for one in row.comparisons:
            assert (one.interval, one.level) == ((None, None), None)
            assert "nothing can be said of the ratio" in one.sentence


def tuned(run: MakeRun, method: str, means: dict[float, float], noise: float) -> list[Record]:
    """Return runs that choose among rates, three seeds each."""
    return [
        run(method, mean + noise * (seed - 1), d=300, lr=lr, seed=CHOOSING + seed)
        for lr, mean in means.items()
        for seed in range(3)
    ]


def test_a_gap_that_may_be_one_between_rates_says_so(run: MakeRun) -> None:
    runs = [*full(run), *series(run), *series(run, "said", 0.25)]
    inside = {0.03: 0.6, 0.1: 0.7, 0.3: 0.6}
    did, said = (tuned(run, method, inside, 0.001) for method in ("did", "said"))
    at_the_edge = tuned(run, "said", {0.1: 0.7, 0.3: 0.6}, 0.001)

    def sentence(*chosen: Record) -> str:
        _, row = estimate([*runs, *chosen])
        (one,) = row.comparisons
        return one.sentence

    doubt = " (rates were not compared: the gap may be one between rates)"
    assert sentence().endswith(doubt)
    assert sentence(*did).endswith(doubt)
    assert "(" not in sentence(*did, *said)
    assert sentence(*did, *at_the_edge).endswith(" (at the edge of the rates tried: SAID)")


def test_a_choice_by_noisy_seeds_widens_the_ratio(run: MakeRun) -> None:
    runs = [*full(run), *series(run), *series(run, "said", 0.25)]
    means = {0.03: 0.698, 0.1: 0.7, 0.3: 0.698}

    def interval(method: str, noise: float) -> tuple[float, float]:
        _, said = estimate([*runs, *tuned(run, method, means, noise)])
        low, high = said.comparisons[0].interval
        assert low is not None
        assert high is not None
        return low, high

    low, high = interval("said", 0.0001)
    wider, same = interval("said", 0.03)
    assert wider < 0.95 * low
    assert same == pytest.approx(high, rel=0.03)
    same, wider = interval("did", 0.03)
    assert wider > 1.05 * high
    assert same == pytest.approx(low, rel=0.03)


def test_report_rows_that_both_series_answer_alike_fall_out(run: MakeRun, tmp_path: Path) -> None:
    hard = (np.random.default_rng(0).permutation(300) + 0.5) / 300

    def width(shuffled: bool) -> float:
        records = []
        for i, one in enumerate([*full(run), *series(run), *series(run, "said", 0.5)]):
            (folder := tmp_path / f"{shuffled}{i}").mkdir()
            own = shuffled and one.method == "said"
            order = np.random.default_rng(i).permutation(hard) if own else hard
            scores = write_scores(folder, (order < (one.metric.value or 0)).astype(float))
            records.append(replace(one, scores=scores, folder=folder))
        (_, said) = estimate(records)
        low, high = said.comparisons[0].interval
        assert low is not None
        assert high is not None
        return high / low

    assert width(shuffled=False) < width(shuffled=True)


def test_steps_are_read_as_their_makers_write_them() -> None:
    assert [updates(step) for step in ("0", "0k", "20k", "2000k", "1000")] == (
        [0, 0, 20_000, 2_000_000, 1000]
    )
    assert updates("final") is None
