"""What `said train --help` prints: the options of each group, and every key with its meaning."""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from textwrap import wrap
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from said_lightning.config.compose import read_command
from said_lightning.config.composer import Composer
from said_lightning.config.describe import SECTION, Key, describe, text
from said_lightning.errors import UserError
from said_lightning.runs.text import line

GROUPS = (
    *("model", "task", "method", "projection", "trainer", "logger", "experiment", "search"),
    *("hydra/sweeper", "hydra/launcher", "hydra/job_logging", "hydra/hydra_logging"),
)
_USAGE = """\
said train: train one run, or with -m a sweep or a search.

  said train [-m] [KEY=VALUE]... [FLAG]...    the same as python train.py ...

Examples
  said train model=minilm task=bbc method=said d=1000
  said train -m model=minilm task=bbc method=full,said,did d=100,300,1000
  said train -m hydra/sweeper=d90 model=minilm task=bbc method=said,did

Flags: -m sweeps over values that are parted by commas; --config-dir FOLDER adds
yamls of your own; --cfg job prints the config; --hydra-help lists the others.
"""
# Names with hyphens stay whole.
_WHOLE: dict[str, Any] = {"break_on_hyphens": False}
_GROUPS = "Groups: GROUP=NAME chooses a yaml"
_KEYS = "Keys: KEY=VALUE changes one; the values are those of this command line"
# Where Slurm's keys and the search's do not follow from what the command chooses.
_HEADINGS = {
    "": "The whole run",
    "hydra.sweeper": "With hydra/sweeper=d90: how d90 is searched.",
    "hydra.launcher": "With hydra/launcher=slurm: what Slurm is asked for; null leaves it open.",
}


def manual(arguments: Sequence[str]) -> str:
    """Return the help of `said train` on a command line, whose overrides it shows the values of.

    Raises UserError for what is wrong with them.
    """
    command = read_command(arguments)
    if command.errors:
        raise UserError(*command.errors)
    width = columns()
    lines = [_USAGE, _GROUPS, *_options(command.composer, width), "", _KEYS]
    return "\n".join([*lines, *explained(taken(command.config), width)])


def columns() -> int:
    """Return the width of a help text: the terminal's, 80 letters in a pipe, and never many."""
    return max(40, min(shutil.get_terminal_size((80, 0)).columns, 100))


def taken(config: DictConfig) -> list[Key]:
    """Return every key with its value in a config; with its default where it has none there.

    The keys of the whole run come first.
    """
    found = []
    for key in describe():
        value: Any = key.default
        node, _, name = key.name.rpartition(".")
        with suppress(OmegaConfBaseException):  # what only a job has a value for
            here = OmegaConf.select(config, node) if node else config
            if here is not None and name in here:
                own = here[name]
                value = text(OmegaConf.to_container(own) if OmegaConf.is_config(own) else own)
        found.append(Key(key.name, key.type, value, key.meaning))
    return sorted(found, key=lambda key: "." in key.name or key.type == SECTION)


def explained(
    keys: Iterable[Key], width: int, headings: Mapping[str, str] = _HEADINGS
) -> Iterator[str]:
    """Yield the lines of an explanation of keys, sections apart."""
    section = None
    for key in keys:
        inside = key.name.rpartition(".")[0]
        if key.type.startswith(SECTION):
            yield from ["", *wrap(f"{key.name}: {_plain(key.meaning)}", width, **_WHOLE)]
            section = key.name
            continue
        if inside != section:
            heading = headings.get(inside, inside)
            yield from ["", *wrap(heading, width)]
            section = inside
        yield from _entry(key, width)


def _entry(key: Key, width: int) -> Iterator[str]:
    inside = " " * 6
    head = line(f"  {key.name}={key.default}  ({key.type})")
    yield from wrap(head, width, subsequent_indent=inside, **_WHOLE)
    about = _plain(key.meaning)
    yield from wrap(about, width, initial_indent=inside, subsequent_indent=inside, **_WHOLE)


def _plain(meaning: str) -> str:
    return meaning.replace("`", "")


def _options(composer: Composer, width: int) -> Iterator[str]:
    longest = max(map(len, GROUPS))
    for group in GROUPS:
        head = f"  {group:{longest}}  "
        names = " ".join(composer.options(group)) or "none"
        indent: Any = {"initial_indent": head, "subsequent_indent": " " * len(head)}
        yield from wrap(names, width, **indent, **_WHOLE)
