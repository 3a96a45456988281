"""Any text and any number at any key: a message or a config, nothing written, no traceback."""

import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from said_lightning.config.compose import Command, read_command
from said_lightning.config.schema import Config
from said_lightning.config.stored import read_config
from said_lightning.errors import UserError
from said_lightning.training.dry_run import validate_command

TEXTS = st.text() | st.sampled_from(
    [
        *("", ".", "..", "../../../x", "/var/x", ".mine", "-m", "~", "~nobody/x", "a/b", "a\\b"),
        *(
            "x" * 300,
            "a\nb",
            "\x1b[31m",
            "${d}",
            "${oc.env:HOME}",
            "???",
            "null",
            "nan",
            "[brackets]",
        ),
        *("con", "a:b", "%s", "{}", "$(id)", "\u202eabc", "ü" * 130, "a,b", "'", '"', "\\", "\0"),
    ]
)
FLOATS = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 5e-324, 1e30, -0.0, 1e308])


def keys(schema: Any, prefix: str = "") -> dict[str, str]:
    """Return the dotted keys of a schema that hold one value, with the type of each."""
    found: dict[str, str] = {}
    for one in fields(schema):
        key = f"{prefix}{one.name}"
        default = one.default_factory() if callable(one.default_factory) else one.default
        if is_dataclass(default):
            found |= keys(default, f"{key}.")
        else:
            found[key] = str(one.type)
    return found


KEYS = keys(Config)


def quoted(key: str, text: str) -> str:
    """Return an override by which Hydra takes a text as it is."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"


def judged(*overrides: str) -> Command | UserError:
    """Return what is made of a command; anything but a message would be raised."""
    try:
        command = read_command(overrides)
        validate_command(command)
    except UserError as error:
        return error
    return command


@pytest.fixture(autouse=True, scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Work in an empty folder, in which and above which nothing may appear."""
    folder = tmp_path_factory.mktemp("hostile") / "a" / "b" / "c"
    folder.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder
    assert [path for path in folder.parents[2].rglob("*") if path not in folder.parents] == [folder]


@given(key=st.sampled_from(sorted(KEYS)), text=TEXTS)
@settings(max_examples=30)
def test_any_text_at_any_key_is_a_message_or_a_config_whose_runs_lie_below_out(
    key: str, text: str
) -> None:
    found = judged("task.data_dir=null", quoted(key, text))
    if isinstance(found, Command):
        for spec in found.specs:
            assert spec.folder.relative_to(spec.out).as_posix() == spec.name
            assert len(spec.folder.relative_to(spec.out).parts) == 3
            assert not any(part.startswith(".") for part in Path(spec.name).parts)


@given(key=st.sampled_from(sorted(KEYS)), number=FLOATS)
@settings(max_examples=30)
def test_any_float_at_any_key_is_a_message_or_a_config(key: str, number: float) -> None:
    judged(f"{key}={number}")


@given(text=TEXTS)
@settings(max_examples=30)
def test_any_path_gives_a_model_of_its_own_name_below_out(text: str) -> None:
    found = judged(quoted("model.path", text))
    assert isinstance(found, Command | UserError)
    if isinstance(found, Command):
        (spec,) = found.specs
        assert len(Path(spec.name).parts) == 3


@pytest.mark.parametrize(
    "override",
    [
        *("model.name=/var/x", "model.name=.mine", "model.name=''", f"model.name={'x' * 300}"),
        *("task.name=../../../x", "task.name='a b'", "projection.name=../x", "model.size=../x"),
        *("model.step=/x", "model.run=..", "+task.files.also={../x: a.tsv}"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_wherever_it_stands(override: str) -> None:
    found = judged(override)
    assert isinstance(found, UserError)
    key = override.strip("+").partition("=")[0]
    assert any(line.startswith(key) and "1 to 64 letters" in line for line in found.messages)


@pytest.mark.parametrize("text", ["ü" * 200, "~nobody/x", "~", "x/" * 3000, "\x7f", ""])
def test_any_folder_of_data_is_a_message_or_a_folder(text: str) -> None:
    assert isinstance(judged(quoted("task.data_dir", text)), UserError)


@pytest.mark.parametrize(
    "override", ["model.steps='${d}'", "task.labels='${trainer}'", "task.hub.also='${task.labels}'"]
)
def test_an_interpolation_that_gives_another_type_is_a_message(override: str) -> None:
    found = judged("task=sst2", override)
    assert isinstance(found, UserError)
    assert any(line.startswith(override.partition("=")[0]) for line in found.messages)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def written(value: Any) -> bytes:
    """Return a value as yaml."""
    return yaml.safe_dump(value, allow_unicode=True).encode(errors="surrogatepass")


PARTS = sorted({key.partition(".")[0] for key in KEYS})
CONTENT = (
    st.binary() | JSON.map(written) | st.dictionaries(st.sampled_from(PARTS), JSON).map(written)
)


@given(content=CONTENT)
@settings(max_examples=150)
def test_any_yaml_as_a_runs_config_is_a_config_or_a_message(
    content: bytes, elsewhere: Path
) -> None:
    (elsewhere / "config.yaml").write_bytes(content)
    try:
        assert isinstance(read_config(elsewhere), Config)
    except UserError as error:
        (line,) = error.messages
        assert line.startswith(str(elsewhere / "config.yaml"))
    finally:
        (elsewhere / "config.yaml").unlink()


@pytest.mark.parametrize(
    "text",
    [
        "task: {name: '${oc.env:WANDB_API_KEY}'}",
        "model: {path: '${oc.env:HOME}', name: x}",
        "task: {labels: ['${d}']}",
        "task: {'${oc.env:HOME}': x}",
        "out: a/${now:%Y}",
    ],
)
def test_an_interpolation_in_what_a_run_left_is_refused_unread(
    text: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "hidden-token")
    (elsewhere / "config.yaml").write_text(text)
    with pytest.raises(UserError, match="found an interpolation") as caught:
        read_config(elsewhere)
    assert "hidden-token" not in str(caught.value)
    (elsewhere / "config.yaml").unlink()
