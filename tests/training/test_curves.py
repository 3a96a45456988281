"""The numbers of a step that a logger gets are what they are called, and change no bit."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from said_lightning.models.encoder import load
from said_lightning.runs.record import Record
from said_lightning.training.curves import Curves
from said_lightning.training.run import run

EVERY = ("logger=csv", "logger.log_every_n_steps=1")


def steps(folder: Path) -> list[dict[str, float]]:
    """Return the rows of steps that a CSV logger got."""
    rows = list(csv.DictReader((folder / "csv" / "metrics.csv").open()))
    return [
        {name: float(value) for name, value in row.items() if value}
        for row in rows
        if row["step/lr"]
    ]


@pytest.mark.parametrize(("every", "expected"), [(1, [1, 2, 3, 4, 5, 6]), (2, [2, 4, 6]), (50, [])])
def test_a_row_comes_every_n_steps(
    compose: Any, tmp_path: Path, every: int, expected: list[int]
) -> None:
    spec = compose(tmp_path, "logger=csv", f"logger.log_every_n_steps={every}")
    run(spec)
    if not expected:
        assert "step/lr" not in (spec.folder / "csv" / "metrics.csv").read_text()
        return
    assert [row["step"] for row in steps(spec.folder)] == expected
    assert [row["epoch"] for row in steps(spec.folder)] == [(at + 2) // 3 for at in expected]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("method", ["said", "full"])
def test_the_loss_of_the_steps_is_the_epochs(
    compose: Any, tmp_path: Path, accumulate: int, method: str
) -> None:
    """Batches have 8 rows each, so that the epoch's loss is the mean of its batches'."""
    spec = compose(
        tmp_path,
        *EVERY,
        f"method={method}",
        "trainer.epochs=1",
        "task.rows.train=null",
        f"trainer.accumulate={accumulate}",
    )
    run(spec)
    found = [row["step/loss"] for row in steps(spec.folder)]
    text = (spec.folder / "metrics.jsonl").read_text().splitlines()[0]
    loss = __import__("json").loads(text)["train/loss"]
    weights = [1, 1, 1] if accumulate == 1 else [2, 1]
    assert len(found) == len(weights)
    mean = sum(w * one for w, one in zip(weights, found, strict=True)) / sum(weights)
    assert mean == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("projection", ["fastfood", "partition", "kronecker"])
@pytest.mark.parametrize("method", ["said", "did"])
def test_delta_norm_is_how_far_the_weights_are_from_where_they_began(
    compose: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    projection: str,
) -> None:
    spec = compose(tmp_path, *EVERY, f"method={method}", f"projection={projection}")
    ended: dict[str, torch.Tensor] = {}

    def keep(_: Curves, trainer: Any, module: Any) -> None:
        ended.update({n: w.detach().clone() for n, w in module.model.named_parameters()})

    monkeypatch.setattr(Curves, "on_train_end", keep)
    record: Record = run(spec)
    config = spec.located()
    model, *_ = load(config.model, config.split_task, config.seed)
    square = sum(
        float((ended[name].double() - weight.double()).square().sum())
        for name, weight in model.named_parameters()
    )
    last = steps(spec.folder)[-1]
    assert last["step/delta_norm"] == pytest.approx(square**0.5, rel=1e-4)
    lambdas = {f"lambda/{name}": one.scale for name, one in record.groups.items()}
    assert {name: last[name] for name in last if name.startswith("lambda/")} == (
        pytest.approx(lambdas) if method == "said" else {}
    )


@pytest.mark.parametrize("method", ["said", "full"])
def test_the_gradients_norm_is_that_before_it_is_clipped(
    compose: Any, tmp_path: Path, method: str
) -> None:
    """A clip far below the norm leaves it as it was in the first step, where theta is the same."""
    found = []
    for clip in ("1e-6", "0"):
        spec = compose(tmp_path / clip, *EVERY, f"method={method}", f"trainer.clip={clip}")
        run(spec)
        found.append(steps(spec.folder)[0]["step/grad_norm"])
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert found[0] > 1e-3


@pytest.mark.parametrize("method", ["said", "full"])
def test_a_row_of_every_step_changes_no_bit(compose: Any, tmp_path: Path, method: str) -> None:
    numbers = []
    for name, overrides in (("with", EVERY), ("without", ())):
        spec = compose(tmp_path / name, f"method={method}", *overrides)
        run(spec)
        (file,) = (spec.folder / "checkpoint").glob("*.safetensors")
        numbers.append(load_file(file))
    assert numbers[0].keys() == numbers[1].keys()
    assert all(torch.equal(numbers[0][name], numbers[1][name]) for name in numbers[0])
