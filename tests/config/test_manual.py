"""`said train --help` has every key and every yaml, reads in 80 columns, starts without torch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from said_lightning.config.compose import read_command
from said_lightning.config.describe import describe
from said_lightning.config.manual import manual

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
SAID = [sys.executable, "-m", "said_lightning.cli"]
TRAIN = {"said": [*SAID, "train"], "train.py": [sys.executable, "train.py"]}


def ended(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command at the checkout's top, its output in a pipe."""
    settings = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=settings)


@pytest.fixture(scope="module")
def page() -> str:
    return manual(["--help"])


def test_every_key_is_there_once_with_its_value_type_and_meaning(page: str) -> None:
    flat = " ".join(page.split())
    for key in describe():
        if key.type == "section":
            assert flat.count(f" {key.name}: {key.meaning.replace('`', '')}") == 1
            continue
        pattern = rf"^(?:  )?{re.escape(key.name)}(?:=|: )"
        assert len(re.findall(pattern, page, re.M)) == 1, key
        assert key.meaning.replace("`", "") in flat


@pytest.mark.parametrize(
    "yaml",
    [
        one.relative_to(CONF).with_suffix("")
        for one in CONF.glob("**/*.yaml")
        if one.parent not in (CONF, CONF / "study")  # no options by themselves
    ],
    ids=str,
)
def test_every_yaml_is_an_option_of_its_group(yaml: Path, page: str) -> None:
    options = page.split("Groups: ")[1].split("\nKeys: ")[0]
    (own,) = re.findall(rf"^  {yaml.parent} +((?:.|\n {{20}})*)", options, re.M)
    assert yaml.name in own.split()


def test_three_examples_compose(page: str) -> None:
    block = page.split("Examples\n")[1].split("\n\n")[0]
    commands = [line.split()[2:] for line in block.splitlines()]
    assert len(commands) == 3
    for arguments in commands:
        assert read_command(arguments).errors == ()


@pytest.mark.parametrize("columns", ["80", "60", "200"])
def test_no_line_is_longer_than_the_terminal(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = manual([]).splitlines()
    # Of what cannot be parted, a command and a path are the longest.
    assert max(map(len, lines)) <= max(min(int(columns), 100), 80)


@pytest.mark.parametrize("entry", TRAIN)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_printed_by_each_entry(entry: str, flag: str) -> None:
    process = ended([*TRAIN[entry], flag])
    assert (process.returncode, process.stderr) == (0, "")
    assert "task.max_length=128  (integer >= 8)" in process.stdout
    assert max(map(len, process.stdout.splitlines())) <= 80


def test_overrides_beside_help_show_the_values_that_they_lead_to() -> None:
    arguments = ["task=gsm8k", "seed=77", "hydra/launcher=slurm", "hydra.launcher.nodes=2"]
    shown = manual(arguments).splitlines()
    for key in (
        "task.max_new_tokens=256",
        "seed=77",
        "hydra.launcher.nodes=2",
        "task.match=number",
    ):
        assert any(line.startswith(f"  {key}  (") for line in shown)


def test_wrong_overrides_beside_help_are_named() -> None:
    process = ended([*TRAIN["said"], "--help", "d=x", "taks=sst2"])
    assert (process.returncode, process.stdout) == (2, "")
    assert "d=x" in process.stderr
    assert "taks: no such key" in process.stderr


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (["--hydra-help"], "--cfg"),
        (["--cfg", "job"], "max_length: 128"),
        (["--info"], "Hydra 1."),
        (["--cfg", "job", "task=bbc"], "name: bbc"),
    ],
)
def test_hydras_own_questions_are_answered(flags: list[str], shown: str) -> None:
    process = ended([*TRAIN["train.py"], *flags])
    assert process.returncode == 0
    assert shown in process.stdout


def test_help_starts_without_torch() -> None:
    program = (
        "import sys; from said_lightning.training.main import main; main(['--help']);"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    assert ended([sys.executable, "-c", program]).stdout.splitlines()[-1] == "False False"


def test_pretraining_explains_its_keys() -> None:
    process = ended([*SAID, "pretrain", "--help"])
    assert (process.returncode, process.stderr) == (0, "")
    assert "  vocabulary=8192  (integer >= 1, <= 1,000,000,000)" in process.stdout
    assert "  text=[]  (list of texts)\n      Text files in UTF-8" in process.stdout
