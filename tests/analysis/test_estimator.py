"""One row for each series, whatever the order of the records."""

import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from said_lightning.analysis.estimator import estimate
from said_lightning.runs.record import CHOOSING, Record

MakeRun = Callable[..., Record]


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


def test_a_baseline_alone_makes_no_row(run: MakeRun) -> None:
    assert estimate([run("full", 0.8)]) == []


@given(seed=st.integers(), data=st.data())
def test_the_order_of_the_records_is_no_matter(
    run: MakeRun, seed: int, data: st.DataObject
) -> None:
    some = st.builds(
        run,
        method=st.sampled_from(["full", "did", "said"]),
        value=st.none() | st.floats(0.5, 1),
        d=st.sampled_from([10, 100, 1000]),
        lr=st.sampled_from([0.1, 0.3]),
        seed=st.integers(0, 2),
        status=st.sampled_from(["done", "done", "failed", "running"]),
        reason=st.none() | st.just("out of memory"),
        data_sha256=st.sampled_from(["a", "b"]),
        outside=st.sampled_from([0, 770]),
    )
    records = data.draw(st.lists(some, max_size=30))
    shuffled = random.Random(seed).sample(records, len(records))
    assert estimate(shuffled) == estimate(records)


def test_rows_stand_in_the_order_of_the_numbers_in_their_names(run: MakeRun) -> None:
    steps = [f"bert-{step}" for step in (0, 300, 3000, 10000)]
    rows = estimate([run("did", 0.5, d=10, model=model) for model in reversed(steps)])
    assert [row.model for row in rows] == steps
    alike = [run("did", 0.5, d=10, model=model) for model in ("bert-1", "bert-01")]
    assert estimate(alike) == estimate(alike[::-1])
