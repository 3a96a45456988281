"""Wrong values are reported with what was expected; nan and inf are refused wherever floats are."""

import inspect
import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from said_lightning.config.compose import read_command
from said_lightning.config.schema import Config, ProjectionConfig
from said_lightning.config.validate import validate_config, validate_search
from said_lightning.projections import names

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(scope="module")
def job() -> Config:
    """Return the config of a command without arguments."""
    (spec,) = read_command([]).specs
    return spec.config


def change(job: Config, *keys: str) -> Config:
    """Return a config with some keys changed."""
    changed: Config = OmegaConf.to_object(  # type: ignore[assignment]
        OmegaConf.merge(OmegaConf.structured(job), OmegaConf.from_dotlist(list(keys)))
    )
    return changed


WRONG = {
    "method.groups=layers": "method.groups=layers: unknown value; did you mean 'layer'?",
    "method.head=insid": "method.head=insid: unknown value; did you mean 'inside'?",
    "method.origin=copied": "method.origin=copied: unknown value; did you mean 'copy'?",
    "logger.mode=onlin": "logger.mode=onlin: unknown value; did you mean 'online'?",
    "trainer.precision=bf16": "trainer.precision=bf16: unknown value; did you mean 'bf16-true'?",
    "trainer.epochs=0": "trainer.epochs=0: expected at least 1",
    "trainer.devices=0": "trainer.devices=0: expected at least 1",
    "trainer.clip=-1": "trainer.clip=-1.0: expected at least 0",
    "trainer.warmup=2": "trainer.warmup=2.0: expected at most 1",
    "model.layers=0": "model.layers=0: expected at least 1, or null",
    "task.train_limit=0": "task.train_limit=0: expected at least 1, or null",
    "d=0": "d=0: expected at least 1",
    "seed=-1": "seed=-1: expected at least 0",
    "lr=0": "lr=0.0: expected more than 0, or null",
    "lr=nan": "lr=nan: expected a finite number, or null",
    "lr=inf": "lr=inf: expected a finite number, or null",
}


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_value_is_reported_with_what_was_expected(job: Config, override: str) -> None:
    assert validate_config(change(job, override)) == [WRONG[override]]


def test_all_wrong_values_are_reported_at_once(job: Config) -> None:
    keys = [key for key in WRONG if key not in {"lr=0", "lr=inf"}]
    assert set(validate_config(change(job, *keys))) == {WRONG[key] for key in keys}


def float_keys(schema: Any, prefix: str = "") -> Iterator[str]:
    """List the dotted keys of a schema whose values are floats, lists of them included."""
    for one in fields(schema):
        hint = get_type_hints(schema)[one.name]
        parts = [part for part in (hint, *get_args(hint)) if part is not type(None)]
        inner = next((part for part in parts if is_dataclass(part)), None)
        if inner is not None:
            yield from float_keys(inner, f"{prefix}{one.name}.")
        elif float in parts:
            yield f"{prefix}{one.name}"


FLOATS = sorted(float_keys(Config))


def test_the_float_keys_are_found() -> None:
    assert {"lr", "timeout", "trainer.clip", "trainer.stop_at", "task.score_range"} <= set(FLOATS)


@given(key=st.sampled_from(FLOATS), value=st.sampled_from(["nan", "inf", "-inf"]))
def test_no_float_key_takes_what_is_not_finite(job: Config, key: str, value: str) -> None:
    written = f"[0,{value}]" if key == "task.score_range" else value
    errors = validate_config(change(job, *_as_yaml(key, written)))
    assert any(line.startswith(key) and "finite" in line for line in errors), errors


def _as_yaml(key: str, value: str) -> list[str]:
    return [f"{key}={value.replace('nan', '.nan').replace('inf', '.inf')}"]


SEARCH: Any = OmegaConf.to_container(OmegaConf.load(CONF / "hydra" / "sweeper" / "d90.yaml"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("key", ["width", "lengths", "rates"])
def test_no_float_key_of_a_search_takes_what_is_not_finite(key: str, value: float) -> None:
    assert validate_search(SEARCH) == []
    (line,) = validate_search(SEARCH | {key: value if key == "width" else [value]})
    assert line.startswith(f"hydra.sweeper.{key}")
    assert "finite" in line


@pytest.mark.parametrize("name", names())
def test_an_options_field_names_the_projections_that_take_it(name: str) -> None:
    module = import_module(f"said_lightning.projections.{name}")
    (build,) = (
        part
        for part in vars(module).values()
        if isinstance(part, type) and part.__module__ == module.__name__
    )
    own = set(inspect.signature(build).parameters) - {"self", "sizes", "d", "seed"}
    declared = {
        one.name for one in fields(ProjectionConfig) if name in one.metadata.get("projections", ())
    }
    assert own == declared
    assert set(OmegaConf.load(CONF / "projection" / f"{name}.yaml")) == {"name", *own}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["protocol=devs"], "protocol=devs: unknown value; did you mean 'dev'?"),
        (["task.report=train"], "task.report=train: unknown value; expected 'dev', 'test'"),
        (
            ["task.select=dev", "task.report=dev"],
            "task.select=dev: it would report too; expected another split, such as train, or "
            "protocol=dev, which chooses and reports on dev",
        ),
        (
            ["protocol=dev", "task.select=train"],
            "task.select=train: expected null with protocol=dev, which chooses and reports on dev",
        ),
        (
            ["task.report=test"],
            "task.report=test: task sst2 has no labelled test set here (GLUE/SST-2/test.tsv); "
            "expected one, or dev",
        ),
    ],
)
def test_splits_against_the_protocol_are_one_message(
    tiny: list[str], glue: Path, overrides: list[str], expected: str
) -> None:
    (spec,) = read_command([*tiny, *overrides]).specs
    assert validate_config(spec.config) == [expected.replace("GLUE", str(glue))]


def test_the_protocol_and_the_splits_are_part_of_what_a_run_is(tiny: list[str]) -> None:
    choices: tuple[list[str], ...] = (
        [],
        ["protocol=dev"],
        ["task.report=dev"],
        ["task.select=train"],
    )
    specs = [read_command([*tiny, *choice]).specs[0] for choice in choices]
    for key in ("config_hash", "setting_hash"):
        assert len({spec.labels[key] for spec in specs}) == 4
    assert [spec.labels["protocol"] for spec in specs] == ["splits", "dev", "splits", "splits"]
