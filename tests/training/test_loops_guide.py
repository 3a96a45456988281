"""The programs of the guide to others' loops run as they stand, and leave an ordinary model."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("accelerate")

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "loops.md"
TEXT = PAGE.read_text(encoding="utf-8")
SETUP = re.findall(r"^```python\n(.*?)^```", TEXT.split("\n## ")[0], re.S | re.M)[0]
SECTIONS = {
    section.splitlines()[0]: re.findall(r"^```python\n(.*?)^```", section, re.S | re.M)
    for section in TEXT.split("\n## ")[1:]
}


@pytest.mark.parametrize("section", [name for name, blocks in SECTIONS.items() if blocks])
def test_a_sections_programs_train_the_model(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate.state import AcceleratorState, GradientState

    monkeypatch.chdir(tmp_path)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    names: dict[str, Any] = {"__name__": "guide"}
    exec(SETUP + "from said_lightning import Subspace\n", names)
    for program in SECTIONS[section]:
        before = [weight.detach().clone() for weight in names["model"].parameters()]
        exec(program, names)
        assert not any(map(torch.equal, before, names["model"].parameters()))
        assert all(weight.grad is None for weight in names["model"].parameters())
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
