"""A run in the space of LoRA factors is an ordinary run, in a series of its own."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from said_lightning.analysis.estimator import estimate
from said_lightning.config.identity import RunSpec
from said_lightning.config.schema import MethodConfig
from said_lightning.config.validate import validate_config
from said_lightning.training.run import run


def test_a_lora_run_trains_d_numbers_and_is_read_beside_runs_of_all_weights(
    compose: Any, tmp_path: Path
) -> None:
    options = ("method=said", "trainer.epochs=1", "projection=partition")
    lora = compose(tmp_path, *options, "method.space=lora", "method.r=2")
    record = run(lora)
    assert (record.status, record.space, record.d, record.m) == ("done", "lora", 20, 3)
    head = 16 * 16 + 16 + 16 * 2 + 2
    assert head + 2 * 2 * 2 * (16 * 2) == record.D  # layers, queries and values, A and B
    assert "-partition-lora-d20-" in lora.folder.name
    numbers = load_file(lora.folder / "checkpoint" / "subspace.safetensors")
    assert sum(part.numel() for part in numbers.values()) == 20

    whole = run(compose(tmp_path, *options))
    full = run(compose(tmp_path, "method=full", "trainer.epochs=1"))
    assert record.rule
    assert full.D
    lr = record.rule * (full.D / 20) ** 0.5  # D is not that of the space
    assert record.lr == pytest.approx(lr)
    rows = estimate([record, whole, full])
    assert [(row.map, row.done) for row in rows] == [("partition", 1), ("partition (lora)", 1)]
    assert {row.full for row in rows} == {rows[0].full}


def test_one_baseline_serves_every_space_and_r_parts_lora_runs(
    compose: Any, tmp_path: Path
) -> None:
    config = compose(tmp_path).config
    hashes: dict[str, set[str]] = {}
    for method, space, r in product(("full", "said"), ("all", "lora", "bias", "head"), (2, 4)):
        changed = replace(config, method=MethodConfig(name=method, space=space, r=r))
        one = "full" if method == "full" else space
        hashes.setdefault(one, set()).add(RunSpec.of(changed).labels["config_hash"])
    different = {"full": 1, "all": 1, "lora": 2, "bias": 1, "head": 1}
    assert {space: len(found) for space, found in hashes.items()} == different
    assert len(set.union(*hashes.values())) == 6


def test_a_mistaken_space_is_reported(compose: Any, tmp_path: Path) -> None:
    assert validate_config(compose(tmp_path, "method.space=loar", "method.r=0").config) == [
        "method.space=loar: unknown value; did you mean 'lora'?",
        "method.r=0: expected at least 1",
    ]
    outside = compose(tmp_path, "method.space=head", "method.head=outside").config
    assert validate_config(outside) == [
        "method.head=outside: expected inside, since method.space=head is the head"
    ]
