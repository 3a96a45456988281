"""Configs: every yaml is a good one, equal runs share a folder, unequal ones do not."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from said_lightning.config.compose import read_command
from said_lightning.config.identity import RunSpec
from said_lightning.config.schema import Config
from said_lightning.config.validate import validate_config

CONF = Path(__file__).parents[2] / "conf"
# conf/study holds what experiments share, and is no option by itself.
YAMLS = sorted(
    yaml
    for path in CONF.glob("*/*.yaml")
    if (yaml := path.relative_to(CONF)).parent.name != "study"
)


@cache
def compose(*overrides: str) -> list[RunSpec]:
    """Compose the jobs of a command in which nothing is wrong."""
    command = read_command(list(overrides))
    assert command.errors == ()
    return command.specs


@pytest.mark.parametrize("yaml", YAMLS, ids=str)
def test_every_yaml_composes_to_jobs_without_problems(yaml: Path) -> None:
    # One d and seed of a grid's hundreds of jobs: composing one takes 0.1 s. A search has few.
    grid = yaml.parent.name == "experiment" and "sweeper: d90" not in (CONF / yaml).read_text()
    one = ["d=500", "seed=0"] if grid else []
    if yaml.stem == "custom":  # a class of one's own
        one = ["logger.path=pytorch_lightning.loggers.CSVLogger"]
    jobs = compose(f"{yaml.parent}={yaml.stem}", *one)
    assert jobs
    assert [error for job in jobs for error in validate_config(job.config)] == []


def test_the_demo_measures_a_baseline_and_both_methods() -> None:
    jobs = compose("experiment=demo")
    assert {job.config.method.name for job in jobs} == {"full", "did", "said"}
    baselines = {job.name for job in jobs if job.config.method.name == "full"}
    assert len(baselines) == 1


@pytest.fixture(scope="module")
def job() -> Config:
    """Return the config of a command without arguments."""
    (spec,) = compose()
    return spec.config


def change(job: Config, *keys: str) -> Config:
    """Return a config with some keys changed."""
    changed: Config = OmegaConf.to_object(  # type: ignore[assignment]
        OmegaConf.merge(OmegaConf.structured(job), OmegaConf.from_dotlist(list(keys)))
    )
    return changed


def hash_of(job: Config, *keys: str) -> str:
    """Return the hash of a config with some keys changed."""
    return str(RunSpec.of(change(job, *keys)).labels["config_hash"])


def setting_of(job: Config) -> str:
    """Return the hash of what a series and its baseline must agree in."""
    return str(RunSpec.of(job).labels["setting_hash"])


@pytest.mark.parametrize(
    "override",
    [
        "out=elsewhere",
        "logger.name=csv",
        "logger.project=mine",
        "task.data_dir=data",
        "trainer.workers=2",
        "trainer.save_every=0",
    ],
)
def test_what_leaves_the_numbers_as_they_are_leaves_the_hash(job: Config, override: str) -> None:
    assert hash_of(job, override) == hash_of(job)


@pytest.mark.parametrize(
    "override",
    [
        "d=20",
        "seed=1",
        "lr=0.1",
        "method.name=did",
        "method.groups=tensor",
        "method.head=outside",
        "method.origin=none",
        "model.name=bert-base",
        "model.revision=main",
        "projection.name=dense",
        "task.name=mrpc",
        "task.max_length=64",
        "task.train_limit=10",
        "trainer.epochs=2",
        "trainer.full_lr=1e-4",
        "trainer.step_ratio=10",
        "trainer.devices=2",
    ],
)
def test_what_changes_the_numbers_changes_the_hash(job: Config, override: str) -> None:
    assert hash_of(job, override) != hash_of(job)


def test_a_task_without_a_data_set_of_the_hub_is_named_by_its_folder(job: Config) -> None:
    own = replace(job, task=replace(job.task, hub=None))
    assert len({hash_of(own, f"task.data_dir={folder}") for folder in ("a", "b")}) == 2
    assert hash_of(own, "task.data_dir=a", "method.name=full") != hash_of(own, "method.name=full")


@pytest.mark.parametrize(
    ("run", "unread"),
    [
        (["method.name=full"], "trainer.step_ratio=4"),
        (["method.name=full", "lr=0.1"], "trainer.full_lr=1e-4"),
        (["method.name=did"], "method.groups=tensor"),
        (["lr=0.1"], "trainer.step_ratio=4"),
        (["lr=0.1"], "trainer.full_lr=1e-4"),
    ],
)
def test_what_a_run_does_not_read_leaves_its_hash(job: Config, run: list[str], unread: str) -> None:
    assert hash_of(job, *run, unread) == hash_of(job, *run)


@pytest.mark.parametrize(
    ("run", "read"),
    [
        (["method.name=full"], "trainer.full_lr=1e-4"),
        (["method.name=did"], "trainer.step_ratio=4"),
        (["lr=0.1", "method.head=outside"], "trainer.full_lr=1e-4"),
        (["lr=0.1"], "method.groups=tensor"),
    ],
)
def test_what_a_run_reads_changes_its_hash(job: Config, run: list[str], read: str) -> None:
    assert hash_of(job, *run, read) != hash_of(job, *run)


@pytest.mark.parametrize(
    "override", ["d=20", "projection.name=dense", "method.groups=tensor", "method.head=outside"]
)
def test_one_baseline_serves_every_subspace(job: Config, override: str) -> None:
    assert hash_of(job, "method.name=full", override) == hash_of(job, "method.name=full")


@pytest.mark.parametrize("override", ["seed=1", "lr=0.1", "task.name=mrpc", "trainer.epochs=2"])
def test_a_baseline_has_its_own_seed_rate_and_task(job: Config, override: str) -> None:
    assert hash_of(job, "method.name=full", override) != hash_of(job, "method.name=full")


def test_a_family_takes_a_size_or_a_step() -> None:
    (small,) = compose("model=bert-miniatures", "model.size=L-2_H-128_A-2")
    assert (small.config.model.name, small.config.model.path) == (
        "bert-L-2_H-128_A-2",
        "google/bert_uncased_L-2_H-128_A-2",
    )
    early, late = compose("-m", "model=multiberts", "model.run=3", "model.step=0k,2000k")
    assert early.config.model.path == "google/multiberts-seed_3-step_0k"
    assert late.config.model.name == "multiberts-3-2000k"
    assert early.name != late.name


def test_a_member_that_a_family_lacks_is_reported() -> None:
    (job,) = compose("model=bert-miniatures", "model.size=L-2_H-129_A-2", "model.step=20k")
    assert validate_config(job.config) == [
        "model.size=L-2_H-129_A-2: not one of the family; did you mean 'L-2_H-128_A-2'?",
        "model.step=20k: not one of the family; bert-L-2_H-129_A-2 has no steps",
    ]


def test_a_model_with_fewer_layers_has_a_name_and_a_baseline_of_its_own(job: Config) -> None:
    cut = change(job, "model.layers=3", "method.name=full")
    assert RunSpec.of(cut).name.startswith("minilm-3-layers/sst2/full-seed0-")
    assert hash_of(cut) != hash_of(job, "method.name=full")


def test_the_folder_says_what_ran(job: Config) -> None:
    said = change(job, "d=20", "seed=3")
    assert RunSpec.of(said).name == f"minilm/sst2/said-fastfood-d20-seed3-{hash_of(said)}"
    full = change(job, "method.name=full")
    assert RunSpec.of(full).name == f"minilm/sst2/full-seed0-{hash_of(full)}"


def test_the_hash_has_eight_digits(job: Config) -> None:
    assert int(hash_of(job), 16) < 16**8
    assert len(hash_of(job)) == 8


@pytest.mark.parametrize(
    "keys",
    [
        ["method.name=full"],
        *(["d=7"], ["seed=7"], ["lr=0.1"], ["projection.name=dense"], ["trainer.stop_at=0.5"]),
        *(["trainer.step_ratio=4"], ["task.data_dir=elsewhere"], ["model.path=elsewhere"]),
    ],
)
def test_runs_that_may_stand_in_one_table_are_of_one_setting(job: Config, keys: list[str]) -> None:
    assert setting_of(change(job, *keys)) == setting_of(job)


@pytest.mark.parametrize(
    "key", ["trainer.batch_size=7", "trainer.precision=bf16-mixed", "task.max_length=7"]
)
def test_runs_of_another_batch_size_or_the_like_are_of_another_setting(
    job: Config, key: str
) -> None:
    assert setting_of(change(job, key)) != setting_of(job)
