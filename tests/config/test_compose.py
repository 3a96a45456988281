"""Wrong input is reported all at once, before anything is made or asked for."""

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from said_lightning.config.compose import read_command
from said_lightning.config.schema import Config

ROOT = Path(__file__).parents[2]
Refuse = Callable[..., list[str]]


def configs(*arguments: str) -> list[Config]:
    """Return the configs of a command's jobs."""
    return [spec.config for spec in read_command(arguments).specs]


@pytest.fixture
def refuse(main: Any, tmp_path: Path) -> Refuse:
    """Return what the program prints of a wrong command; it exits 2 and makes nothing."""

    def messages(*arguments: str) -> list[str]:
        code, out, err = main(*arguments)
        assert (code, out) == (2, "")
        assert not (tmp_path / "out").exists()
        found: list[str] = err.splitlines()
        return found

    return messages


OFFLINE = "not here, and HF_HUB_OFFLINE is set"
WRONG = [
    ("model=minilmm", "model=minilmm: no such model; did you mean 'minilm'?"),
    ("task=sst", "task=sst: no such task; did you mean 'sst2'?"),
    ("method=sad", "method=sad: no such method; did you mean 'said'?"),
    ("projection=fastfod", "projection=fastfod: no such projection; did you mean 'fastfood'?"),
    (
        "projection.gradent=exact",
        "projection.gradent: no such key; did you mean 'projection.gradient'?",
    ),
    ("experiment=dmo", "experiment=dmo: no such experiment; did you mean 'demo'?"),
    ("sede=1", "sede: no such key; did you mean 'seed'?"),
    ("trainer.epoch=3", "trainer.epoch: no such key; did you mean 'trainer.epochs'?"),
    ("d=hundred", "d=hundred: Value 'hundred' of type 'str' could not be converted to Integer"),
    ("d=1e3", "d=1000.0: Value '1000.0' of type 'float' could not be converted to Integer"),
    ("d", "d: missing EQUAL at '<EOF>'; expected key=value"),
    ("d=4", "d=4: expected at least 5, since SAID takes its m=4 lambdas out of d"),
    ("d=5555", "d=5555: the model has only D=5,554 trainable weights; d can be at most 5554"),
    ("d=100,200", "d=100,200: several values; add -m to sweep"),
    ("task.data_dir=/missing", "task.data_dir=/missing: no such folder"),
    ("model.path=???", "model.path: has no value"),
    ("model.path=/missing", "model.path=/missing: no such folder; expected one with a config.json"),
    (
        "model.path=package:missing/model",
        "model=tiny: package:missing/model is in a pip package that is not installed: "
        "pip install missing",
    ),
]


@pytest.mark.parametrize(("argument", "message"), WRONG)
def test_a_mistake_is_named_with_the_nearest_valid_value(
    refuse: Refuse, argument: str, message: str
) -> None:
    (line,) = refuse(argument)
    assert line.startswith(message)


def test_an_option_of_a_projection_has_its_own_values(refuse: Refuse) -> None:
    (line,) = refuse("projection=released", "projection.gradient=exakt")
    assert line == "projection.gradient=exakt: unknown value; did you mean 'exact'?"


def test_a_file_in_the_place_of_the_runs_is_reported(refuse: Refuse, glue: Path) -> None:
    file = glue / "SST-2" / "dev.tsv"
    for out in (file, file / "below"):
        assert refuse(f"out={out}") == [f"out={out}: {file} is a file; expected a folder"]


def test_a_place_that_cannot_be_written_is_reported(
    refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    assert refuse("-m", "seed=0,1") == [f"out={tmp_path / 'out'}: {tmp_path} cannot be written"]


@pytest.mark.parametrize("method", ["full", "said"])
def test_a_model_of_the_hub_without_a_network_is_reported_with_the_way_out(
    refuse: Refuse, method: str
) -> None:
    (line,) = refuse("model.path=some/encoder", f"method={method}")
    assert line.startswith(f"model.path=some/encoder: {OFFLINE}")
    assert "hf download some/encoder" in line


def test_all_mistakes_are_reported_at_once(refuse: Refuse) -> None:
    arguments = ["projection=fastfod", "sede=1", "d=hundred", "seed=1,2"]
    values = ["trainer.epochs=0", "task.data_dir=/missing", "model.path=/missing"]
    lines = refuse(*arguments, *values)
    assert len(lines) == 7
    for argument, line in zip([*arguments, *values], lines, strict=True):
        assert line.startswith(argument.partition("=")[0])


def test_a_mistake_in_one_job_of_a_sweep_is_reported_once_before_any_starts(refuse: Refuse) -> None:
    lines = refuse("-m", "d=3,20,6000", "seed=0,1", "method=said,did")
    assert [line.partition(":")[0] for line in lines] == ["d=3", "d=6000"]


def test_a_default_in_a_mistakes_place_is_not_judged(refuse: Refuse) -> None:
    """Without the mistaken override d=4 would be too small for SAID, the default method."""
    assert len(refuse("method=ddi", "d=4")) == 1


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["hydra/launcher=slurm", "hydra.launcher.acount=me"], "hydra.launcher.account"),
        (["hydra/launcher=slurm", "+hydra.launcher.constraints=a100"], "hydra.launcher.constraint"),
        (["hydra/launcher=joblib", "hydra.launcher.n_job=2"], "hydra.launcher.n_jobs"),
        (["hydra/sweeper=d90", "hydra.sweeper.seds=3"], "hydra.sweeper.seeds"),
        (["hydra/sweeper=d90", "+hydra.sweeper.rate=[1]"], "hydra.sweeper.rates"),
        (["hydra.job.chdri=true"], "hydra.job.chdir"),
    ],
)
def test_a_key_that_hydras_node_lacks_is_named_with_the_nearest(
    arguments: list[str], nearest: str
) -> None:
    key = arguments[-1].strip("+").partition("=")[0]
    (line,) = read_command(["-m", *arguments]).errors
    assert line == f"{key}: no such key; did you mean {nearest!r}?"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("gpus_per_node=-1", "gpus_per_node=-1: expected at least 0"),
        ("mem_gb=much", "mem_gb=much: expected a number"),
        ("setup=module", "setup=module: expected a list"),
    ],
)
def test_a_value_that_slurm_does_not_take_is_refused_with_the_command(
    refuse: Refuse, override: str, message: str
) -> None:
    (line,) = refuse("-m", "hydra/launcher=slurm", f"hydra.launcher.{override}")
    assert line.startswith(f"hydra.launcher.{message}")


def test_hydras_own_complaints_are_reported_without_a_traceback(refuse: Refuse) -> None:
    (line, *_) = refuse("hydra.job.chdir=perhaps")
    assert "perhaps" in line


def test_a_sweep_is_the_product_of_its_values() -> None:
    jobs = configs("-m", "d=10,20", "seed=0,1,2", "method=did")
    points = [(job.d, job.seed) for job in jobs]
    assert points == [(d, seed) for d in (10, 20) for seed in (0, 1, 2)]
    assert {job.method.name for job in jobs} == {"did"}


def test_the_jobs_of_a_sweep_are_those_that_hydra_composes() -> None:
    swept = {
        "method": ["full", "said"],
        "projection": ["fastfood", "released"],
        "d": ["10", "2000"],
        "task.metrics": ["[accuracy]", "[accuracy,f1]"],
        "trainer.grow_from": ["null"],
    }
    command = read_command(["-m", *(f"{key}={','.join(values)}" for key, values in swept.items())])
    jobs = [command.composer.spec(job).config for job in command.jobs]
    each = [zip(swept, values, strict=True) for values in product(*swept.values())]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        whole = [compose("config", [f"{k}={v}" for k, v in one]) for one in each]
    assert jobs == [OmegaConf.to_object(one) for one in whole]


def test_a_nested_search_is_judged_by_its_run_that_grows() -> None:
    (job,) = configs("search=nested", "method=said")
    sweeper = OmegaConf.load(ROOT / "conf" / "hydra" / "sweeper" / "d90.yaml")
    assert (job.d, job.trainer.grow_from) == (sweeper.high, sweeper.low)
    assert job.trainer.epochs == 28


@pytest.mark.parametrize(
    "override",
    [
        *("low=0", "low=x", "high=1.5", "seeds=1", "seeds=x", "budget=0", "batch=0", "nested=1"),
        *("rates=3", "rates=[]", "rates=[1,0]", "rates=[1,1]", "rates=[a]", "width=1"),
        *("width=x", "lengths=[0]", "corrected=x"),
    ],
)
def test_a_value_of_the_search_is_judged_with_the_command(override: str) -> None:
    key = f"hydra.sweeper.{override}".partition("=")[0]
    given = ["-m", "hydra/sweeper=d90", f"hydra.sweeper.{override}", "sede=1"]
    other, mistake = read_command(given).errors
    assert other.startswith("sede: no such key")
    assert mistake.startswith(key)
    assert ": expected " in mistake


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.sweeper.low=1000000", "hydra.sweeper.low=1000000: expected less than high=1000000"),
        ("hydra.sweeper.rates=1,3", "hydra.sweeper.rates=1,3: expected one value"),
        ("lr=0.1,0.2", "lr=0.1,0.2: a search has one for all its runs; hydra.sweeper.rates"),
        ("trainer.step_ratio=4,40", "trainer.step_ratio=4,40: a search has one for all"),
        ("trainer.full_lr=1e-5,1e-4", "trainer.full_lr=1e-5,1e-4: a search has one for all"),
        ("method.peft.lr=0.1,0.2", "method.peft.lr=0.1,0.2: a search has one for all"),
        (
            "trainer.epochs=1,2",
            "trainer.epochs=1,2: a search has one for all its runs; hydra.sweeper.lengths",
        ),
        ("+hydra.sweeper.params={lr: '1,2'}", "hydra.sweeper.params.lr: a search has one"),
        ("method=full", "method=full: a search trains it by itself; expected said, did"),
    ],
)
def test_what_a_search_cannot_do_is_reported(override: str, message: str) -> None:
    given = ["-m", "hydra/sweeper=d90", override]
    (mistake,) = read_command(given).errors
    assert mistake.startswith(message)


@pytest.mark.parametrize("override", ["lr=0.1", "trainer.step_ratio=4", "method=full,said"])
def test_a_search_takes_one_rate_for_all_and_leaves_out_full_fine_tuning(override: str) -> None:
    assert read_command(["-m", "hydra/sweeper=d90", override]).errors == ()


def test_an_override_reaches_into_an_experiments_own_sweep() -> None:
    jobs = configs("experiment=demo", "method=did", "d=5,6")
    assert [(job.method.name, job.d) for job in jobs] == [("did", 5), ("did", 6)]


@pytest.mark.parametrize(
    "override",
    [
        "task.files.text=['#1 String',b]",
        "task.hub.path=mine",
        "task.hub={path: mine}",
        "task.train_limit=null",
        "model.path='a folder'",
        "lr=1e-3",
        "hydra.verbose=true",
    ],
)
def test_every_key_of_the_schema_can_be_set(override: str) -> None:
    assert read_command([override]).errors == ()


SETTINGS = ("d=20", "seed=1", "trainer.step_ratio=39", "trainer.stop_at=0.5", "method=did")


@given(jobs=st.lists(st.sets(st.sampled_from(SETTINGS)).map(sorted), min_size=2, max_size=4))
@settings(max_examples=6)
def test_a_job_has_nothing_of_the_jobs_before_it(jobs: list[list[str]]) -> None:
    """Those of a search set other keys from round to round."""
    composer = read_command(["-m", "task=bbc", "d=10"]).composer
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for job in jobs:
            expected = OmegaConf.to_object(compose("config", ["task=bbc", *job]))
            assert composer.spec(["task=bbc", *job]).config == expected
