"""The paper's study as an experiment, and its like on the encoder at hand."""

from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from said_lightning.config.compose import read_command
from said_lightning.search.locate import Grid

CONF = Path(__file__).parents[2] / "conf"


def params(name: str) -> dict[str, Any]:
    """Return what an experiment sweeps."""
    config: Any = OmegaConf.load(CONF / "experiment" / f"{name}.yaml")
    return dict(config.hydra.sweeper.params)


def test_table_1_has_the_papers_grid_models_tasks_and_methods() -> None:
    swept = params("table1")
    grid = [int(d) for d in swept["d"].split(",")]
    assert grid == [int(d + 1e-9) for d in np.logspace(2, 6, 64)]
    assert {207, 774, 896, 1200, 1389, 1608, 1861, 2493, 8030, 9295} <= set(grid)  # its Table 1
    assert swept["task"] == "mrpc,qqp"
    assert set(swept["method"].split(",")) == {"full", "said", "did"}
    for model in swept["model"].split(","):
        assert (CONF / "model" / f"{model}.yaml").exists()


def test_table_1_is_searched_on_the_papers_grid_by_default() -> None:
    command = read_command(["-m", "experiment=table1"])
    assert (command.search, command.errors) == (True, ())
    configs = [spec.config for spec in command.specs]
    series = {(one.model.name, one.task.name, one.method.name) for one in configs}
    assert len([one for one in series if one[2] != "full"]) == 16
    low, high = sorted({one.d for one in configs})
    assert Grid(low, high).d == [int(d) for d in params("table1")["d"].split(",")]


def test_the_small_table_composes_and_has_one_baseline_for_every_d() -> None:
    command = read_command(["-m", "experiment=table1-small"])
    assert not command.errors
    assert len(command.specs) == 84 + 6


def test_a_search_takes_an_experiments_series_and_leaves_its_grid() -> None:
    command = read_command(["-m", "experiment=table1-small", "hydra/sweeper=d90"])
    assert command.search
    configs = [spec.config for spec in command.specs]
    assert {one.d for one in configs if one.method.name != "full"} == {100, 1_000_000}
    assert {one.seed for one in configs} == {0}
    assert {one.task.name for one in configs} == {"mrpc", "sst2"}
