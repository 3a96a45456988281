"""A config that a run left is read, or refused in one message, whatever is in its place."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from said_lightning.config.schema import Config
from said_lightning.config.stored import read_config
from said_lightning.errors import UserError
from said_lightning.runs.index import CONFIG

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.dates()
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
    max_leaves=6,
)
keys = st.fixed_dictionaries({}, optional=dict.fromkeys(Config.__dataclass_fields__, values))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@given((values | keys).map(lambda one: yaml.dump(one, allow_unicode=True)) | st.text())
@example("false")
@example("- 1")
def test_any_yaml_is_a_config_or_refused_in_one_message(folder: Path, text: str) -> None:
    (folder / CONFIG).write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        read_config(folder)
    except UserError as error:
        (message,) = error.messages
        assert message.startswith(f"{folder / CONFIG}: no config of a run: ")


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{own}: &{own} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, own in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 5000, "{a: " * 3000, "a: &a [*a]", "d: &a {d: *a}", LAUGHS, f"d: {'9' * 5000}"),
        *(
            "!!python/object/apply:os.system [true]",
            "d: \0",
            "d: ${oc.env:HOME}",
            "d: 1\n---\nd: 2",
        ),
    ],
    ids=lambda text: text[:12],
)
def test_a_hostile_config_is_refused_at_once(tmp_path: Path, text: str) -> None:
    (tmp_path / CONFIG).write_text(text)
    clock = time.process_time()
    with pytest.raises(UserError, match=r"config\.yaml: no config of a run: "):
        read_config(tmp_path)
    assert time.process_time() - clock < 10


def huge(path: Path) -> None:
    """Make a file of a gigabyte that takes no room on the disk."""
    path.touch()
    os.truncate(path, 2**30)


STRANGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "link to itself": lambda path: path.symlink_to(path.name),
    "huge": huge,
}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_what_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / CONFIG)
    with pytest.raises(UserError, match=r"config\.yaml: cannot be read: "):
        read_config(tmp_path)
