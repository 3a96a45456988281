"""One row for each series, whatever the order of the records."""

import random
from collections.abc import Callable
from dataclasses import replace
from io import StringIO

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from said_lightning.analysis.estimator import estimate
from said_lightning.analysis.table import show, to_json
from said_lightning.runs.record import CHOOSING, Epoch, Part, Record

MakeRun = Callable[..., Record]
PART = {
    "split": st.just("dev"),
    "rows": st.sampled_from([0, 100]),
    "value": st.none() | st.floats(0, 1),
    "trivial": st.none() | st.just(0.5),
}


def test_one_baseline_serves_every_series_of_its_model_and_task_alone(run: MakeRun) -> None:
    records = [
        run("said", 0.8, d=10),
        run("did", 0.8, d=10),
        run("did", 0.8, d=10, projection="dense"),
        run("did", 0.8, d=10, task="cola"),
        run("did", 0.8, d=10, model="bert"),
    ]
    rows = estimate([*records, run("full", 0.8)])
    names = [(row.model, row.task, row.method, row.projection) for row in rows]
    assert names == sorted(names)
    assert [row.verdict for row in rows].count("below-grid") == 3
    assert {row.verdict for row in rows if row.task == "cola" or row.model == "bert"} == {
        "no-baseline"
    }


def test_runs_that_choose_are_not_reported(run: MakeRun) -> None:
    reported = [run("full", 0.8), run("did", 0.6, d=10), run("did", 0.9, d=100)]
    choosing = [
        run("full", 0.99, seed=CHOOSING, lr=0.3),
        run("did", 0.99, d=10, seed=CHOOSING),
        run("did", 0.99, d=10, seed=2 * CHOOSING, status="failed"),
    ]
    assert estimate([*reported, *choosing]) == estimate(reported)


def test_without_them_the_last_run_of_a_search_still_has_a_row(run: MakeRun) -> None:
    (row,) = estimate([run("did", 0.9, d=100, seed=2 * CHOOSING)])
    assert (row.verdict, row.done, row.planned) == ("no-baseline", 0, 0)


def test_a_baseline_alone_makes_no_row(run: MakeRun) -> None:
    assert estimate([run("full", 0.8)]) == []


@given(seed=st.integers(), data=st.data())
@settings(max_examples=40)
def test_the_order_of_the_records_is_no_matter(
    run: MakeRun, seed: int, data: st.DataObject
) -> None:
    some = st.builds(
        run,
        method=st.sampled_from(["full", "did", "said"]),
        value=st.none() | st.floats(-1, 1),
        d=st.sampled_from([10, 100, 1000, None]),
        lr=st.sampled_from([0.1, 0.3, None]),
        seed=st.sampled_from([0, 1, 2, CHOOSING, 2 * CHOOSING]),
        status=st.sampled_from(["done", "done", "failed", "running"]),
        reason=st.none() | st.just("out of memory"),
        data_sha256=st.sampled_from(["a", None]),
        outside=st.sampled_from([0, 770]),
        trivial=st.sampled_from([0.5, 0.5, None, 0.0]),
        epochs=st.sampled_from([3, 3, None]),
        protocol=st.sampled_from(["splits", None]),
        report=st.none() | st.builds(Part, **PART),
        select=st.none() | st.builds(Part, **PART),
        last=st.none() | st.builds(Epoch, epoch=st.integers(1, 3), value=st.none()),
    )
    records = data.draw(st.lists(some, max_size=30))
    shuffled = random.Random(seed).sample(records, len(records))
    rows = estimate(records)
    text = to_json(rows)
    assert to_json(estimate(shuffled)) == text
    Console(file=StringIO()).print(show(rows))


def test_records_that_know_nothing_make_rows_that_say_so(run: MakeRun) -> None:
    nothing = Record(status="failed", model="minilm", task="sst2", method="did", seed=0)
    (row,) = estimate([nothing, replace(nothing, status="done"), replace(nothing, method="full")])
    assert (row.verdict, row.d90, row.done, row.planned) == ("no-baseline", None, 0, 1)
    (row,) = estimate([run("full", 0.8), nothing])
    assert (row.verdict, row.D, row.metric) == ("incomplete", None, "accuracy")


def test_one_d_with_seeds_is_all_above_or_all_below(run: MakeRun) -> None:
    full = [run("full", 0.8 + seed / 100, seed=seed) for seed in range(2)]
    for value, verdict in ((0.78, "below-grid"), (0.6, "above-grid")):
        runs = [run("did", value + seed / 1000, d=100, seed=seed) for seed in range(2)]
        (row,) = estimate([*full, *runs])
        assert (row.verdict, row.d90, row.level) == (verdict, None, 0.9)
        assert row.interval == ((None, 100) if verdict == "below-grid" else (100, None))


def test_rows_stand_in_the_order_of_the_numbers_in_their_names(run: MakeRun) -> None:
    steps = [f"bert-{step}" for step in (0, 300, 3000, 10000)]
    rows = estimate([run("did", 0.5, d=10, model=model) for model in reversed(steps)])
    assert [row.model for row in rows] == steps
    alike = [run("did", 0.5, d=10, model=model) for model in ("bert-1", "bert-01")]
    assert estimate(alike) == estimate(alike[::-1])
