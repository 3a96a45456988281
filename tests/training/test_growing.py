"""A run whose d grows trains d numbers in each epoch, from what the epochs before have learned."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from said_lightning.config.validate import validate_config
from said_lightning.training.growing import schedule, sizes
from said_lightning.training.run import run

GROWING = ("d=500", "trainer.grow_from=20", "trainer.epochs=3")


def theta(spec: Any) -> torch.Tensor:
    return load_file(spec.folder / "checkpoint" / "subspace.safetensors")["theta"]


@given(first=st.integers(1, 10**4), factor=st.floats(1.1, 1e3), epochs=st.integers(2, 64))
def test_d_rises_from_the_first_to_the_last_by_equal_factors(
    first: int, factor: float, epochs: int
) -> None:
    last = round(first * factor) + 1
    found = sizes(first, last, epochs)
    assert (found[0], found[-1], len(found)) == (first, last, epochs)
    assert found == sorted(found)
    step = (last / first) ** (1 / (epochs - 1))
    assert all(abs(d - first * step**i) <= 0.5 + 1e-6 * d for i, d in enumerate(found))


def test_each_epochs_rate_rises_and_falls_and_is_the_rules_for_its_d() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [one], "lr": 1.0} for one in weights])
    rates = schedule(optimizer, [25, 100], steps=10, warmup=0.2)
    seen = []
    for _ in range(20):
        seen.append(rates.get_last_lr())
        optimizer.step()
        rates.step()
    shape = [0, 0.5, 1, *(1 - i / 8 for i in range(1, 8))]
    assert [theta for theta, _ in seen] == pytest.approx([2 * one for one in shape] + shape)
    assert [head for _, head in seen] == pytest.approx(shape * 2)


@pytest.mark.parametrize("method", ["said", "did"])
def test_an_epoch_trains_its_d_numbers_and_no_others(
    compose: Any, tmp_path: Path, method: str
) -> None:
    spec = compose(tmp_path, *GROWING, f"method={method}", "trainer.stop_at=0")
    record = run(spec)
    assert (record.status, record.epochs, record.d) == ("done", 3, 500)
    assert [(stage.d, stage.value is None) for stage in record.stages] == [
        (20, False),
        (100, True),
        (500, True),
    ]
    assert record.lr is not None
    assert record.stages[0].lr == pytest.approx(record.lr * 5)
    active = 20 - (record.m or 0)
    trained = theta(spec)
    assert trained[:active].count_nonzero() == active
    assert not trained[active:].any()


def test_a_heads_numbers_outside_count_at_every_d(
    compose: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        record = run(compose(tmp_path, *GROWING, "method.head=outside"))
    outside = record.outside or 0
    assert outside > 0
    assert record.d == 500 + outside
    assert [stage.d - outside for stage in record.stages] == [20, 100, 500]
    assert record.stages[0].lr == pytest.approx((record.lr or 0) * 5)
    assert f"d = {20 + outside:,} of {500 + outside:,}" in caplog.messages


def test_in_loras_space_what_is_not_trained_yet_stays_where_it_starts(
    compose: Any, tmp_path: Path
) -> None:
    lora = ("method.space=lora", "method.r=2", "d=200", "trainer.epochs=2")
    once = (*lora, "trainer.stop_at=0")
    found = []
    for options in ((*once, "trainer.grow_from=20"), (*once, "trainer.grow_from=10"), lora):
        spec = compose(tmp_path, *options)
        m = run(spec).m or 0
        found.append(theta(spec))
    twenty, ten, whole = found
    assert torch.equal(twenty[20 - m :], ten[20 - m :])
    assert ten[20 - m :].count_nonzero() == 200 - 20
    assert (twenty != whole).all()


def test_a_later_epoch_goes_on_from_the_numbers_before(compose: Any, tmp_path: Path) -> None:
    spec = compose(tmp_path, *GROWING)
    record = run(spec)
    assert all(stage.value is not None for stage in record.stages)
    assert theta(spec).count_nonzero() == 500 - (record.m or 0)
    first = compose(tmp_path, *GROWING, "trainer.stop_at=0")
    run(first)
    metrics = [(one.folder / "metrics.jsonl").read_text().splitlines() for one in (spec, first)]
    assert metrics[0][:2] == metrics[1]


def test_a_run_whose_d_grows_is_a_series_of_its_own(compose: Any, tmp_path: Path) -> None:
    grows, whole = compose(tmp_path, *GROWING), compose(tmp_path, "d=500", "trainer.epochs=3")
    assert "said-fastfood-nested-d500-" in grows.folder.name
    assert grows.folder != whole.folder
    full = [compose(tmp_path, "method=full", "trainer.epochs=3", *more) for more in ((), GROWING)]
    assert full[0].folder == full[1].folder


@pytest.mark.parametrize(
    ("first", "expected"),
    [(0, "at least 1, or null"), *((d, "at least 1 and less than d=500") for d in (500, 501))],
)
def test_a_start_out_of_range_is_refused(
    compose: Any, tmp_path: Path, first: int, expected: str
) -> None:
    spec = compose(tmp_path, "d=500", f"trainer.grow_from={first}")
    assert validate_config(spec.config) == [f"trainer.grow_from={first}: expected {expected}"]


def test_a_start_that_leaves_no_theta_is_refused(main: Any) -> None:
    code, _, err = main("d=500", "trainer.grow_from=3")
    assert code == 2
    assert "d=3: expected at least 5" in err
