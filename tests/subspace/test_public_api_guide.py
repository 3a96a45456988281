"""The guide's programs run as they stand, and reach 90 % of full training on the digits."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "api.md"
SETUP, LOOP, MODULE, GROUPS, HEAD, SAVED = re.findall(
    r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M
)
FULL_LR, EPOCHS = 1e-3, 20
Names = dict[str, Any]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Names:
    """Return the names that the guide's first block leaves, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    found: Names = {"__name__": "guide"}
    exec(SETUP, found)
    return found


def accuracy(model: Any, names: Names) -> float:
    """Return the share of the digits held out that a model gets right."""
    x, y = (torch.stack(part) for part in zip(*names["test"], strict=True))
    with torch.no_grad():
        return (model.eval()(x).argmax(1) == y).float().mean().item()


def full_training(name: str, names: Names) -> float:
    """Return the accuracy of the same optimizer with all weights, from where the model is."""
    torch.manual_seed(0)
    model = names[name]
    start = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=FULL_LR)
    for _ in range(EPOCHS):
        for x, y in names["batches"]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    found = accuracy(model, names)
    model.load_state_dict(start)
    model.zero_grad()
    return found


@pytest.mark.parametrize(
    ("program", "model", "seed"),
    [
        *((LOOP, "mlp", seed) for seed in range(3)),  # what holds for one seed may be chance
        (LOOP, "cnn", 0),
        (MODULE, "mlp", 0),
        (MODULE, "cnn", 0),
    ],
    ids=["loop-mlp", "loop-mlp-1", "loop-mlp-2", "loop-cnn", "module-mlp", "module-cnn"],
)
def test_a_program_reaches_90_percent_of_full_training(
    program: str, model: str, seed: int, names: Names
) -> None:
    torch.manual_seed(seed)
    exec(SETUP, names)
    lines = [line for line in program.splitlines() if line]
    assert len(lines) <= 15
    assert f"range({EPOCHS})" in program or f"max_epochs={EPOCHS}" in program
    full = full_training(model, names)
    assert full > 0.9
    program, count = re.subn(r"\b(mlp|cnn)\b", model, program)
    assert count == 1
    quiet = "max_epochs=20, logger=False, enable_checkpointing=False, enable_progress_bar=False"
    exec(program.replace("max_epochs=20", quiet), names)
    found = names["model"]
    assert accuracy(getattr(found, "net", found), names) >= 0.9 * full


def test_the_guide_counts_what_full_training_trains(names: Names) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in ("mlp", "cnn"):
        size = sum(weight.numel() for weight in names[name].parameters())
        assert f"{size:,} " in text


def test_the_guides_groups_are_printed_as_shown(
    names: Names, capsys: pytest.CaptureFixture[str]
) -> None:
    exec("from said_lightning import Subspace\n" + GROUPS, names)
    shown = re.findall(r"# (\{.*?)(?:, \.\.\.\]\})?$", GROUPS, re.M)
    printed = capsys.readouterr().out.splitlines()
    assert all(line.startswith(part) for line, part in zip(printed, shown, strict=True))


def test_the_guides_other_blocks_run(names: Names) -> None:
    exec("from said_lightning import Subspace\n" + HEAD, names)
    head, full = names["optimizer"].param_groups[-1], names["space"].full_D
    assert sum(weight.numel() for weight in head["params"]) == names["space"].outside < full
    exec(SAVED, names)
    for mine, right in zip(names["model"].parameters(), names["cnn"].parameters(), strict=True):
        assert torch.equal(mine, right)
