"""The sentence for a task says what the runs show, and what they leave open, for every verdict."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from said_lightning.analysis.answer import answers, missing, short, why_not_drawn
from said_lightning.analysis.estimator import Row, estimate
from said_lightning.runs.record import Record, Stage

MakeRun = Callable[..., Record]


@pytest.fixture
def pair(run: MakeRun) -> list[Row]:
    """Return DID and SAID of one task, found, with an interval and compared."""
    runs = [run("full", 0.8 + seed / 100, d=22_700_000, D=22_700_000, seed=seed) for seed in (0, 1)]
    for method, shift in (("said", 1), ("did", 10)):
        for d, value in ((10, 0.55), (100, 0.75), (1000, 0.79)):
            runs += [run(method, value + s / 100, d=d * shift, seed=s) for s in (0, 1)]
    return estimate(runs)


def said(rows: list[Row], **facts: Any) -> str:
    """Return the sentence on a row with other facts, without the comparisons."""
    (sentence,) = answers([[replace(rows[1], comparisons=(), **facts)]])
    return sentence


def test_a_sentence_has_d90_of_all_weights_and_the_ratio_with_intervals(pair: list[Row]) -> None:
    did, other = pair
    (one,) = other.comparisons
    (sentence,) = answers([pair])
    low, high = other.interval
    needs = f"SAID needs {other.d90:,} [{low}, {high}] of 22.7M numbers, DID {did.d90:,} ["
    assert sentence.startswith(f"minilm · sst2: {needs}")
    assert f"; SAID / DID {float(f'{one.ratio:.2g}'):g} [" in sentence
    assert sentence.endswith("(rates were not compared: the gap may be one between rates).")


@pytest.mark.parametrize(
    ("interval", "shown"),
    [
        ((300, 1200), "needs 400 [300, 1,200] of"),
        ((None, 1200), "needs 400 [open, 1,200] of"),
        ((300, None), "needs 400 [300, open] of"),
        ((None, None), "needs 400 [open, open] of"),
    ],
)
def test_an_open_end_is_called_open(
    interval: tuple[int | None, int | None], shown: str, pair: list[Row]
) -> None:
    assert shown in said(pair, d90=400, interval=interval, level=0.9)


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"level": None}, "needs 400 of 22.7M numbers (one seed, no interval)."),
        ({"verdict": "edge", "interval": (300, 500)}, "(best rate at the edge of those tried)."),
        ({"verdict": "below-grid", "d90": None, "interval": (None, 10)}, "needs at most 10 of"),
        (
            {"verdict": "above-grid", "d90": None, "interval": (1000, None)},
            "needs more than 1,000 of",
        ),
        (
            {"verdict": "nested", "d90": None, "interval": (None, 100), "level": None},
            "needs at most 100 of 22.7M numbers (runs whose d grew).",
        ),
        (
            {"verdict": "trivial", "d90": None, "interval": (None, None)},
            "no d90 of SAID: 90 % of full",
        ),
        (
            {"verdict": "no-baseline", "d90": None, "interval": (None, None)},
            "no d90 of SAID: no full fine-tuning was run in its setting.",
        ),
        (
            {"verdict": "incomplete", "d90": None, "interval": (None, None), "planned": 9},
            "no d90 of SAID: 6 of 9 runs are done; so far the paper's reading is 100 (10, 100].",
        ),
        (
            {"verdict": "incomplete", "d90": None, "interval": (None, None), "threshold": None},
            "no d90 of SAID: full fine-tuning is to come.",
        ),
        (
            {"verdict": "above-grid", "d90": None, "interval": (None, None)},
            "no d90 of SAID: its seeds differ too much",
        ),
    ],
)
def test_each_verdict_has_its_words(facts: dict[str, Any], shown: str, pair: list[Row]) -> None:
    assert shown in said(pair, **{"d90": 400, **facts})


@pytest.mark.parametrize(
    ("ratio", "interval", "level", "shown"),
    [
        (0.3333, (0.2, 0.55), 0.9, "SAID / DID 0.33 [0.2, 0.55]."),
        (0.3333, (None, 0.55), 0.9, "SAID / DID 0.33 [open, 0.55]."),
        (0.3333, (None, None), None, "SAID / DID 0.33, without an interval."),
        (None, (None, 0.55), 0.9, "SAID / DID below 0.55."),
        (None, (1.5, None), 0.9, "SAID / DID above 1.5."),
        (None, (0.5, 1.5), 0.9, "SAID / DID between 0.5 and 1.5."),
        (None, (None, None), 0.9, "SAID / DID not known."),
    ],
)
def test_a_ratio_is_said_as_far_as_it_is_known(
    ratio: float | None, interval: Any, level: float | None, shown: str, pair: list[Row]
) -> None:
    one = replace(pair[1].comparisons[0], ratio=ratio, interval=interval, level=level, doubt="")
    (sentence,) = answers([[pair[0], replace(pair[1], comparisons=(one,))]])
    assert sentence.endswith(shown)


def test_projections_are_named_and_held_against_each_other(run: MakeRun) -> None:
    runs = [run("full", 0.8 + seed / 100, seed=seed) for seed in (0, 1)]

    def series(method: str, projection: str, shift: int) -> list[Record]:
        return [
            run(method, value + s / 100, d=d * shift, seed=s, projection=projection)
            for d, value in ((10, 0.55), (100, 0.75), (1000, 0.79))
            for s in (0, 1)
        ]

    runs += [*series("said", "fastfood", 1), *series("said", "partition", 2)]
    (sentence,) = answers([estimate(runs)])
    assert sentence.startswith("minilm · sst2: SAID (fastfood) needs ")
    assert ", SAID (partition) " in sentence
    assert "; partition / fastfood 2 [" in sentence
    (sentence,) = answers([estimate([*runs, *series("did", "fastfood", 4)])])
    assert "; SAID / DID 0.25 [" in sentence
    assert "; partition / fastfood (SAID) 2 [" in sentence


def test_of_many_series_the_least_and_the_most_are_named(run: MakeRun) -> None:
    runs = [run("full", 0.8), run("said", 0.6, d=10, projection="none")]
    for index in range(6):
        for d, value in ((10, 0.6), (1000, 0.73 + index / 100)):
            runs.append(run("said", value, d=d, projection=f"p{index}"))
    rows = estimate(runs)
    first, last = (next(row for row in rows if row.map == name) for name in ("p5", "p0"))
    one, other = (f"SAID ({row.map})'s {row.d90:,} (one seed" for row in (first, last))
    (sentence,) = answers([rows])
    assert sentence.startswith(f"minilm · sst2: 6 series need from {one}")
    assert f" to {other}" in sentence
    assert "; 1 more has a bound" in sentence


def test_tasks_of_which_the_same_is_to_be_said_share_a_sentence(run: MakeRun) -> None:
    rows = estimate([run("did", 0.6, d=10, task=task) for task in ("a", "b", "c")])
    expected = "minilm · a, minilm · b and minilm · c: no d90 of DID: no full fine-tuning was run"
    (sentence,) = answers([[row] for row in rows])
    assert sentence == f"{expected} in its setting."


def test_every_series_without_a_d90_has_a_reason(run: MakeRun) -> None:
    stages = [Stage(d=10, lr=0.1, value=0.6), Stage(d=100, lr=0.1, value=0.79)]
    cases = {
        "no-baseline": [run("did", 0.6, d=10)],
        "trivial": [run("full", 0.5), run("did", 0.5, d=10)],
        "below-grid": [run("full", 0.8), run("did", 0.79, d=10)],
        "above-grid": [run("full", 0.8), run("did", 0.6, d=10)],
        "nested": [run("full", 0.8), run("did", 0.79, d=100, stages=stages)],
        "incomplete": [run("full", 0.8), run("did", None, d=10, status="running")],
    }
    reasons = set()
    for verdict, runs in cases.items():
        (row,) = estimate(runs)
        assert row.verdict == verdict
        assert row.d90 is None
        reasons.add(why_not_drawn(row))
        assert bool(missing(row)) == (row.interval == (None, None))
    assert len(reasons) == len(cases)


def test_large_numbers_are_short() -> None:
    numbers = (950, 1_000, 22_713_216, 110_000_000, 7_241_732_096)
    assert [short(one) for one in numbers] == ["950", "1k", "22.7M", "110M", "7.24B"]
