"""Configs: every yaml is a good one, equal runs share a folder, unequal ones do not."""

from functools import cache
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from said_lightning.config.compose import read_command
from said_lightning.config.schema import config_hash, problems, run_folder
from said_lightning.config.stored import setting_hash

CONF = Path(__file__).parents[2] / "conf"
# conf/study holds what experiments share, and is no option by itself.
YAMLS = sorted(
    yaml
    for path in CONF.glob("*/*.yaml")
    if (yaml := path.relative_to(CONF)).parent.name != "study"
)


@cache
def compose(*overrides: str) -> list[DictConfig]:
    """Compose the jobs of a command without mistakes."""
    command = read_command(list(overrides), CONF)
    assert command.mistakes == []
    return command.jobs


@pytest.mark.parametrize("yaml", YAMLS, ids=str)
def test_every_yaml_composes_to_jobs_without_problems(yaml: Path) -> None:
    # One d and seed of a grid's hundreds of jobs: composing one takes 0.1 s. A search has few.
    grid = yaml.parent.name == "experiment" and "sweeper: d90" not in (CONF / yaml).read_text()
    one = ["d=500", "seed=0"] if grid else []
    jobs = compose(f"{yaml.parent}={yaml.stem}", *one)
    assert jobs
    assert [problem for job in jobs for problem in problems(job)] == []


def test_the_demo_measures_a_baseline_and_both_methods() -> None:
    jobs = compose("experiment=demo")
    assert {job.method.name for job in jobs} == {"full", "did", "said"}
    baselines = {run_folder(job) for job in jobs if job.method.name == "full"}
    assert len(baselines) == 1


@pytest.fixture(scope="module")
def job() -> DictConfig:
    """The config of a command without arguments."""
    (job,) = compose()
    return job


def change(job: DictConfig, *keys: str) -> DictConfig:
    """Give a job with some keys changed."""
    changed = OmegaConf.merge(job, OmegaConf.from_dotlist(list(keys)))
    assert isinstance(changed, DictConfig)
    return changed


def hash_of(job: DictConfig, *keys: str) -> str:
    """Give the hash of a job with some keys changed."""
    return config_hash(change(job, *keys))


@pytest.mark.parametrize(
    "override",
    [
        "out=elsewhere",
        "logger.name=csv",
        "logger.project=mine",
        "task.data_dir=data",
        "trainer.workers=2",
    ],
)
def test_what_leaves_the_numbers_as_they_are_leaves_the_hash(
    job: DictConfig, override: str
) -> None:
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
def test_what_changes_the_numbers_changes_the_hash(job: DictConfig, override: str) -> None:
    assert hash_of(job, override) != hash_of(job)


def test_a_task_without_a_data_set_of_the_hub_is_named_by_its_folder(job: DictConfig) -> None:
    own = job.copy()
    own.task.hub = None
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
def test_what_a_run_does_not_read_leaves_its_hash(
    job: DictConfig, run: list[str], unread: str
) -> None:
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
def test_what_a_run_reads_changes_its_hash(job: DictConfig, run: list[str], read: str) -> None:
    assert hash_of(job, *run, read) != hash_of(job, *run)


@pytest.mark.parametrize(
    "override", ["d=20", "projection.name=dense", "method.groups=tensor", "method.head=outside"]
)
def test_one_baseline_serves_every_subspace(job: DictConfig, override: str) -> None:
    assert hash_of(job, "method.name=full", override) == hash_of(job, "method.name=full")


@pytest.mark.parametrize("override", ["seed=1", "lr=0.1", "task.name=mrpc", "trainer.epochs=2"])
def test_a_baseline_has_its_own_seed_rate_and_task(job: DictConfig, override: str) -> None:
    assert hash_of(job, "method.name=full", override) != hash_of(job, "method.name=full")


def test_a_family_takes_a_size_or_a_step() -> None:
    (small,) = compose("model=bert-miniatures", "model.size=L-2_H-128_A-2")
    assert (small.model.name, small.model.path) == (
        "bert-L-2_H-128_A-2",
        "google/bert_uncased_L-2_H-128_A-2",
    )
    early, late = compose("-m", "model=multiberts", "model.run=3", "model.step=0k,2000k")
    assert early.model.path == "google/multiberts-seed_3-step_0k"
    assert late.model.name == "multiberts-3-2000k"
    assert run_folder(early) != run_folder(late)


def test_a_member_that_a_family_lacks_is_told() -> None:
    (job,) = compose("model=bert-miniatures", "model.size=L-2_H-129_A-2", "model.step=20k")
    assert problems(job) == [
        "model.size=L-2_H-129_A-2: not one of the family; did you mean 'L-2_H-128_A-2'?",
        "model.step=20k: not one of the family; bert-L-2_H-129_A-2 has no steps",
    ]


def test_a_model_with_fewer_layers_has_a_name_and_a_baseline_of_its_own(job: DictConfig) -> None:
    cut = change(job, "model.layers=3", "method.name=full")
    assert run_folder(cut).startswith("minilm-3-layers/sst2/full-seed0-")
    assert config_hash(cut) != hash_of(job, "method.name=full")


def test_the_folder_says_what_ran(job: DictConfig) -> None:
    said = change(job, "d=20", "seed=3")
    assert run_folder(said) == f"minilm/sst2/said-fastfood-d20-seed3-{config_hash(said)}"
    full = change(job, "method.name=full")
    assert run_folder(full) == f"minilm/sst2/full-seed0-{config_hash(full)}"


def test_the_hash_has_eight_digits(job: DictConfig) -> None:
    assert int(hash_of(job), 16) < 16**8
    assert len(hash_of(job)) == 8


WRONG = {
    "method.groups=layers": "method.groups=layers: unknown value; did you mean 'layer'?",
    "method.head=insid": "method.head=insid: unknown value; did you mean 'inside'?",
    "method.origin=copied": "method.origin=copied: unknown value; did you mean 'copy'?",
    "logger.mode=onlin": "logger.mode=onlin: unknown value; did you mean 'online'?",
    "trainer.precision=bf16": "trainer.precision=bf16: unknown value; did you mean 'bf16-true'?",
    "trainer.epochs=0": "trainer.epochs=0: expected more than 0",
    "trainer.devices=0": "trainer.devices=0: expected more than 0",
    "trainer.clip=-1": "trainer.clip=-1.0: expected 0 or more",
    "trainer.warmup=2": "trainer.warmup=2.0: expected a share of the steps, 0 to 1",
    "model.layers=0": "model.layers=0: expected at least 1, or null for all",
    "d=0": "d=0: expected at least 1",
    "seed=-1": "seed=-1: expected 0 or more",
    "lr=0": "lr=0.0: expected more than 0, or null for the rule",
    "lr=nan": "lr=nan: expected more than 0, or null for the rule",
    "lr=inf": "lr=inf: expected more than 0, or null for the rule",
}


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_value_is_told_with_what_was_expected(job: DictConfig, override: str) -> None:
    assert problems(change(job, override)) == [WRONG[override]]


def test_all_wrong_values_are_told_at_once(job: DictConfig) -> None:
    keys = [key for key in WRONG if key not in {"lr=0", "lr=inf"}]
    assert set(problems(change(job, *keys))) == {WRONG[key] for key in keys}


def test_a_key_without_a_value_is_told(job: DictConfig) -> None:
    broken = job.copy()
    broken.model.path = "???"
    assert problems(broken) == ["model.path: has no value"]


@pytest.mark.parametrize(
    "keys",
    [
        ["method.name=full"],
        *(["d=7"], ["seed=7"], ["lr=0.1"], ["projection.name=dense"], ["trainer.stop_at=0.5"]),
        *(["trainer.step_ratio=4"], ["task.data_dir=elsewhere"], ["model.path=elsewhere"]),
    ],
)
def test_runs_that_may_stand_in_one_table_are_of_one_setting(
    job: DictConfig, keys: list[str]
) -> None:
    assert setting_hash(change(job, *keys)) == setting_hash(job)


@pytest.mark.parametrize(
    "key", ["trainer.batch_size=7", "trainer.precision=bf16-mixed", "task.max_length=7"]
)
def test_runs_of_another_batch_size_or_the_like_are_of_another_setting(
    job: DictConfig, key: str
) -> None:
    assert setting_hash(change(job, key)) != setting_hash(job)
