"""Every key of the config is explained, once, in a sentence that names no key that there is not."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from said_lightning.config.compose import read_command
from said_lightning.config.describe import Key, describe, keys_of
from said_lightning.config.plugins import SearchConfig, SlurmConfig
from said_lightning.config.schema import Config
from said_lightning.data.task import FileSource, HubSource, TaskConfig
from said_lightning.tools.pretrain.settings import PretrainConfig

CONF = Path(__file__).parents[2] / "conf"
KEYS = describe()
NAMES = {key.name for key in KEYS}
PRETRAIN = keys_of(PretrainConfig)
# Their lines are for Hydra, not keys of a group.
HYDRAS = {"defaults", "hydra", "_target_", "params"}


def names_in(node: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a schema or a yaml, free keywords left out."""
    for name in node:
        child = node._get_node(name)
        yield f"{prefix}{name}"
        if OmegaConf.is_dict(child) and not child._is_none():
            yield from names_in(child, f"{prefix}{name}.")


def test_each_key_of_the_schemas_is_described_once() -> None:
    hub, files = HubSource(), FileSource()
    task = TaskConfig(hub=hub, files=files, eval_hub=hub, eval_files=files)
    expected = list(names_in(OmegaConf.structured(Config(task=task))))
    expected += [f"hydra.sweeper.{name}" for name in SearchConfig.__dataclass_fields__]
    expected += [f"hydra.launcher.{name}" for name in SlurmConfig.__dataclass_fields__]
    assert [key.name for key in KEYS] == expected
    assert set(Counter(expected).values()) == {1}
    assert [key.name for key in PRETRAIN] == list(PretrainConfig.__dataclass_fields__)


@pytest.mark.parametrize("key", [*KEYS, *PRETRAIN], ids=lambda key: key.name)
def test_a_meaning_is_a_sentence(key: Key) -> None:
    assert re.fullmatch(r"[A-Z].{8,}[^.]\.", key.meaning)
    assert "\n" not in key.meaning


@pytest.mark.parametrize("key", [*KEYS, *PRETRAIN], ids=lambda key: key.name)
def test_a_meaning_names_keys_options_and_own_choices_alone(key: Key) -> None:
    known = NAMES if key in KEYS else {one.name for one in PRETRAIN}
    for quoted in re.findall(r"`([^`]+)`", key.meaning):
        name, _, value = quoted.partition("=")
        if value and (CONF / name).is_dir():
            assert (CONF / name / f"{value}.yaml").is_file()
        elif value:
            (named,) = (one for one in KEYS if one.name == name)
            assert value in named.type.split(" | ")
        else:
            assert name in known or name in key.type.split(" | ")
    sections = "|".join({name.split(".")[0] for name in NAMES if "." in name})
    dotted = re.findall(rf"\b(?:{sections})(?:\.[a-z_]+)+", key.meaning)
    assert {re.sub(r"(options)\..*", r"\1", name) for name in dotted} <= NAMES


@pytest.mark.parametrize("yaml", sorted(CONF.glob("*/*.yaml")), ids=lambda path: path.stem)
def test_every_key_that_a_yaml_sets_is_described(yaml: Path) -> None:
    node = OmegaConf.load(yaml)
    whole = "@package _global_" in yaml.read_text(encoding="utf-8")
    named = names_in(node) if whole else names_in(node, f"{yaml.parent.name}.")
    own = [name for name in named if name.split(".")[0] not in HYDRAS]
    free = r"^(task\.\w+\.(also|label_map)|.*\.options)\..*"
    assert {name for name in own if not re.match(free, name)} <= NAMES


def test_every_key_of_hydras_own_yamls_and_of_pretraining_is_described() -> None:
    for node, yaml in (("sweeper", "d90"), ("launcher", "slurm")):
        keys = set(OmegaConf.load(CONF / "hydra" / node / f"{yaml}.yaml")) - HYDRAS
        assert {f"hydra.{node}.{name}" for name in keys} <= NAMES
    keys = set(OmegaConf.load(CONF / "pretrain.yaml")) - HYDRAS
    assert keys == {key.name for key in PRETRAIN}


def test_a_default_is_what_a_command_without_arguments_takes() -> None:
    (spec,) = read_command([]).specs
    config = OmegaConf.structured(spec.config)
    for key in KEYS:
        chosen = key.name.startswith(("model", "task", "method", "projection", "hydra"))
        if not chosen and key.default and key.type != "section":
            given = OverridesParser.create().parse_override(f"{key.name}={key.default}").value()
            assert OmegaConf.select(config, key.name) == given, key


def test_a_type_says_the_range_and_the_choices() -> None:
    types = {key.name: key.type for key in KEYS}
    assert types["task.max_length"] == "integer >= 8"
    assert types["trainer.warmup"] == "number >= 0, <= 1"
    assert types["method.quantize"] == "nf4 | int8 | null"
    assert types["hydra.sweeper.rates"] == "list of numbers"
    assert types["trainer.activation_checkpointing"] == "true | false"
    assert types["task.hub"] == "section | null"


def test_keys_are_described_without_torch() -> None:
    program = "import sys, said_lightning.config.describe as d; d.describe(); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not {"torch", "transformers"} & set(ended.stdout.split())
    assert "said_lightning.config.schema" in ended.stdout
