"""One way from a command to its runs: what is composed, hashed, outlined, written, how often.

Commands that are wrong leave the disk as it was.
"""

import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.plugins.launcher import Launcher

from said_lightning.config import identity, stored
from said_lightning.config.compose import read_command
from said_lightning.runs import record as records
from said_lightning.training import budget, dry_run, main, server
from said_lightning.training.run import run as train

Counts = Counter[str]
GRID = ["-m", "method=full,said,did", "seed=0,1,2,3,4,5,6,7", "d=20,30,40,50,60,70,80,90"]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Count what a command does, with its model checks in this process."""
    found: Counts = Counter()

    def count(owner: Any, name: str, key: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            found[key] += 1
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, counted)

    count(ConfigLoaderImpl, "load_configuration", "composed")
    count(identity, "decisive", "hashed")
    count(stored, "decisive", "compared")
    count(stored, "write_config", "written")
    count(budget, "outline", "outlined")
    monkeypatch.setattr(budget, "_outlines", {})
    monkeypatch.setattr(
        server, "call", lambda name, *given: getattr(budget, name.partition(":")[2])(*given)
    )
    return found


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every job be done at once, in a worker's place."""
    from said_lightning.training import job

    def supervised(spec: identity.RunSpec, *_: object) -> records.Record:
        metric = records.Metric(name="accuracy", value=0.5)
        done = records.Record(**spec.labels, status="done", metric=metric)
        records.write(done, spec.folder)
        return done

    monkeypatch.setattr(job, "supervised", supervised)


def test_one_job_is_composed_hashed_outlined_and_written_once(
    main: Any, counts: Counts, untrained: None
) -> None:
    assert main().code == 0
    assert counts == {"composed": 1, "hashed": 1, "outlined": 1, "written": 1}


def test_192_jobs_are_each_hashed_and_written_once_and_each_method_outlined_once(
    main: Any, counts: Counts, untrained: None, tmp_path: Path
) -> None:
    ended = main(*GRID)
    assert ended.code == 0, ended.err
    folders = {path.parent for path in (tmp_path / "out").rglob("config.yaml")}
    assert len(folders) == 8 + 2 * 64  # one baseline serves every d
    assert counts == {
        "composed": 1 + 3,  # the command, and the files of each method
        "hashed": 192,
        "outlined": 3,
        "written": len(folders),
        "compared": 192 - len(folders),  # with the config that already lies in the folder
    }


def test_a_job_finds_made_what_every_job_needs() -> None:
    names = "transformers.conversion_mapping:_checkpoint_conversion_mapping_cache.__len__"
    assert server.call(names) > 0
    assert server.call("sys:modules.__contains__", "numba")


def test_what_a_run_is_called_is_written_with_its_plan_and_read_back(
    main: Any, tiny: list[str], tmp_path: Path, untrained: None
) -> None:
    (spec,) = read_command([*tiny, f"out={tmp_path / 'out'}"]).specs
    stored.plan(spec)
    planned = json.loads((spec.folder / "result.json").read_text())
    assert planned["status"] == "waiting"
    assert {key: planned[key] for key in spec.labels} == spec.labels
    assert stored.read_spec(spec.folder, spec.cwd) == spec


def test_checking_192_jobs_takes_at_most_five_times_as_long_as_three(
    tiny: list[str], tmp_path: Path
) -> None:
    def seconds(*jobs: str) -> float:
        clock = time.process_time()
        command = read_command([GRID[0], *tiny, *jobs, f"out={tmp_path / 'out'}"])
        dry_run.validate_command(command)
        assert budget.validate_models([spec.config for spec in command.specs]) == []
        assert len(command.jobs) == (192 if jobs == tuple(GRID[1:]) else 3)
        return time.process_time() - clock

    few = ["method=full,said,did", "d=20"]
    seconds(*few)  # what is imported and cached on first use
    assert seconds(*GRID[1:]) < 5 * seconds(*few)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of everything below a folder."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


WRONG = [
    ["--d=100"],
    ["--nosuchflag"],
    ["--multirunn", "d=20,30"],
    ["d=20", "-m", "seed=0,1"],
    ["-m", "d=20,30", "hydra.nothing=1"],
    ["projection.gradient=released"],
    ["+projection.gradient=exact"],
    ["+nothing=1"],
    ["trainer.step_ratio=nan"],
    ["-m", "d=20,30", "trainer.clip=inf"],
    ["-m", "d=20,30", "hydra/launcher=ray", "hydra.launcher.nothing=1"],
    ["-m", "d=20,30", "hydra/launcher=nowhere"],
    ["-m", "hydra/sweeper=d90", "hydra.sweeper.width=nan", "d=20"],
    ["hydra.sweep.dir=elsewhere"],
    ["hydra.run.dir=elsewhere"],
    ["--config-dir", "missing"],
    ["hydra.searchpath=[file:///missing]"],
    ["-m", "task=glob(zzz*)"],
    ["~d"],
    ["d=interval(1,20)"],
]


@pytest.mark.parametrize("wrong", WRONG, ids=" ".join)
def test_a_wrong_command_leaves_the_disk_as_it_was(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: list[str]
) -> None:
    """Not even beside runs that are done: a planned run would make an answer incomplete."""
    out = tmp_path / "out"
    (spec,) = read_command([*tiny, f"out={out}", "seed=9"]).specs
    stored.plan(spec)
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    own = [one for one in tiny if not (one.startswith("d=") and any("d=" in w for w in wrong))]
    flags = list(itertools.takewhile(lambda one: one.startswith("--"), wrong))
    rest = wrong[len(flags) :]
    both = wrong[0] == "d=20" and "-m" in wrong
    command = [*own, f"out={out}", *rest] if both else [*flags, *rest, *own, f"out={out}"]
    assert main.main(command) == 2
    assert tree(tmp_path) == before


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Hydra's own launcher one that cannot start."""

    def fail(*_: object, **__: object) -> Launcher:
        raise ImportError("no cluster here")

    monkeypatch.setattr("hydra.core.plugins.Plugins.instantiate_launcher", fail)
    return


def test_a_launcher_that_cannot_start_leaves_no_planned_folder(
    main: Any, tmp_path: Path, broken: None
) -> None:
    code, out, err = main("-m", "d=20,30")
    assert (code, out) == (2, "")
    assert "cannot start: no cluster here" in err
    assert not os.path.exists(tmp_path / "out")


def test_a_run_may_lie_above_the_folder_of_the_command(
    main: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untrained: None
) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    ended = main("out=../above")
    assert (ended.code, ended.err) == (0, "")
    (result,) = (tmp_path / "above").rglob("result.json")
    assert stored.read_spec(result.parent, Path.cwd()).folder == result.parent


@pytest.mark.parametrize("launcher", ["slurm", "submitit_slurm"])
def test_without_slurm_no_launcher_of_it_plans_a_run(
    main: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setattr("shutil.which", lambda *_: None)
    code, out, err = main("-m", "d=20,30", f"hydra/launcher={launcher}")
    assert (code, out) == (2, "")
    assert err == f"hydra/launcher={launcher}: expected Slurm's sbatch on this machine\n"
    assert not (tmp_path / "out").exists()


def test_a_ray_cluster_that_does_not_answer_leaves_no_planned_folder(
    main: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**_: object) -> None:
        raise ConnectionError("nobody answers")

    fake = ModuleType("ray")
    fake.init = init  # type: ignore[attr-defined]
    fake.__spec__ = ModuleSpec("ray", None)
    monkeypatch.setitem(sys.modules, "ray", fake)
    code, out, err = main("-m", "d=20,30", "hydra/launcher=ray")
    assert (code, out) == (2, "")
    assert "hydra/launcher=ray hydra/sweeper=basic: cannot start: nobody answers" in err
    assert not (tmp_path / "out").exists()


def test_a_model_is_sought_from_the_folder_of_the_command(
    main: Any, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untrained: None
) -> None:
    """The job server may have been started in another folder, by an earlier command."""
    server.start()
    monkeypatch.chdir(encoder.parent)
    ended = main(f"model.path=./{encoder.name}")
    assert (ended.code, ended.err) == (0, "")


def test_the_worker_of_a_planned_run_only_compares_its_folders_config(
    compose: Any, counts: Counts, tmp_path: Path
) -> None:
    spec = compose(tmp_path, "trainer.epochs=1")
    stored.plan(spec)
    counts.clear()
    assert train(spec).status == "done"
    assert counts == {"compared": 1}
