"""A command line: what is wrong with it, all at once, the jobs it means and how they ended."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from said_lightning.config.schema import Config, folder_of
from said_lightning.config.search import SEARCHED, chosen_mistakes, settings_mistakes
from said_lightning.config.stored import foreign, write_config
from said_lightning.data.task import FileSource, HubSource, TaskConfig, suggestion
from said_lightning.errors import UserError
from said_lightning.runs.index import CONFIG, STOPPED, at

SWEEP_FLAGS = {"-m", "--multirun"}


@dataclass(frozen=True)
class Command:
    """A command line: each job's composed config, and the mistakes in the overrides.

    Mistaken overrides are left out of the jobs, so that the others can be checked all the same. Of
    a search, which finds its jobs as it goes, the jobs are each lane at both ends of its range, or
    each lane's run that grows.
    """

    jobs: list[DictConfig]
    mistakes: list[str]
    search: bool = False


def read_command(arguments: list[str], conf: Path) -> Command:
    """Composes every job of a command line; `conf` is the folder with config.yaml.

    Mistakes are unknown groups, options and keys, values of the wrong type, and a sweep without -m.
    Raises UserError, with these too, where what is left cannot be composed.
    """
    given = [argument for argument in arguments if not argument.startswith("-")]
    overrides, mistakes = parse(given, partial(override_mistakes, conf=conf))
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            sweep = bool(SWEEP_FLAGS & set(arguments))
            jobs, wrong, search = _compose(overrides, sweep, conf)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(*mistakes, str(error)) from None
    return Command(jobs, mistakes + wrong, search)


def parse(
    arguments: Iterable[str], mistakes_in: Callable[[Override], Iterable[str]]
) -> tuple[list[Override], list[str]]:
    """Gives the overrides without mistakes, and the mistakes in the others."""
    overrides, mistakes = [], []
    for text in arguments:
        try:
            override = OverridesParser.create().parse_override(text)
            wrong = list(mistakes_in(override))
        except HydraException as error:
            wrong = [f"{text}: {str(error).splitlines()[0]}; expected key=value"]
        mistakes += wrong
        overrides += [] if wrong else [override]
    return overrides, mistakes


def override_mistakes(override: Override, conf: Path) -> Iterator[str]:
    """Tells what is wrong with one override: its key, or any of its values."""
    key = override.key_or_group
    if key.startswith("hydra"):
        return
    if _is_choice(override, conf):
        options = sorted(path.stem for path in (conf / key).glob("*.yaml"))
        for value in _values(override):
            if value not in options:
                yield f"{key}={value}: no such {key}{suggestion(value, options)}"
        return
    # With the parts that are optional, which some yaml may fill.
    task = TaskConfig(hub=HubSource(), files=FileSource())
    projection: Any = {}
    for file in (conf / "projection").glob("*.yaml"):
        projection |= OmegaConf.to_container(OmegaConf.load(file))
    yield from key_mistakes(
        override, OmegaConf.structured(Config(task=task, projection=projection))
    )


def key_mistakes(override: Override, schema: DictConfig) -> Iterator[str]:
    """Tells what is wrong with one override of a schema's keys; takes over its values."""
    key = override.key_or_group
    if key not in (keys := _keys(schema)):
        yield f"{key}: no such key{suggestion(key, keys)}"
        return
    for value in _values(override):
        try:
            parsed = OverridesParser.create().parse_override(f"{key}={value}").value()
            OmegaConf.update(schema, key, parsed)
        except OmegaConfBaseException as error:
            yield f"{key}={value}: {str(error).splitlines()[0]}"


def _compose(
    overrides: list[Override], sweep: bool, conf: Path
) -> tuple[list[DictConfig], list[str], bool]:
    """Composes each job inside an initialised Hydra, an experiment's own sweep included.

    Gives the jobs, the mistakes of the whole, and whether the d90 sweeper is to find the jobs. A
    mistake is several values though nothing asks for a sweep, or what a search cannot do.
    """
    swept = [o.input_line or "" for o in overrides if o.is_sweep_override()]
    fixed = [o.input_line or "" for o in overrides if not o.is_sweep_override()]
    hydra = compose("config", fixed, return_hydra_config=True).hydra
    params: dict[str, Any] = {}
    ends: list[str] = []
    wrong: list[str] = []
    if multirun := sweep or str(hydra.mode) == "RunMode.MULTIRUN":
        params, swept = hydra.sweeper.get("params") or {}, []
    if search := "D90Sweeper" in str(hydra.sweeper.get("_target_")):
        swept = [] if multirun else ["hydra/sweeper=d90"]
        params = {key: value for key, value in params.items() if key not in SEARCHED}
        wrong = settings_mistakes(hydra.sweeper)
        # Mistaken ends have no runs.
        ends = [] if wrong else _ends(hydra.sweeper)
        wrong += chosen_mistakes(overrides, params)
    parser = OverridesParser.create()
    texts = [f"{key}={value}" for key, value in params.items()]
    parsed = parser.parse_overrides(texts) + overrides + parser.parse_overrides(ends)
    (split,) = BasicSweeper.split_arguments(parsed, None)
    jobs = _compose_all(split, conf)
    if search and all(job.method.name == "full" for job in jobs):
        wrong.append("method=full: a search trains it by itself; expected said, did, or both")
    return jobs, [f"{text}: several values; add -m to sweep" for text in swept] + wrong, search


def _ends(sweeper: Any) -> list[str]:
    """Gives the overrides of a lane's runs at both ends of a search, or of its run that grows."""
    if sweeper.nested is None:
        return [f"d={sweeper.low},{sweeper.high}"]
    return [
        f"d={sweeper.high}",
        f"trainer.grow_from={sweeper.low}",
        f"trainer.epochs={sweeper.nested}",
    ]


def _compose_all(jobs: list[list[str]], conf: Path) -> list[DictConfig]:
    """Composes each job, and files but once for jobs that differ in values alone."""
    chosen = cache(lambda *choices: compose("config", list(choices)))
    composed = []
    for job in jobs:
        overrides = OverridesParser.create().parse_overrides(job)
        plain = [o.type is OverrideType.CHANGE and not _is_choice(o, conf) for o in overrides]
        choices = [text for text, is_plain in zip(job, plain, strict=True) if not is_plain]
        cfg = deepcopy(chosen(*choices))
        for override in (o for o, is_plain in zip(overrides, plain, strict=True) if is_plain):
            OmegaConf.update(cfg, override.key_or_group, override.value())
        composed.append(cfg)
    return composed


def _is_choice(override: Override, conf: Path) -> bool:
    key = override.key_or_group
    return key.startswith("hydra") or (conf / key).is_dir()


def _values(override: Override) -> list[str]:
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    return [override.get_value_element_as_str()]


def _keys(node: Any, prefix: str = "") -> list[str]:
    """Lists the dotted keys of a schema."""
    keys = []
    for name in node:
        keys.append(f"{prefix}{name}")
        child = node._get_node(name)
        if OmegaConf.is_dict(child) and not child._is_none():
            keys += _keys(child, f"{prefix}{name}.")
    return keys


def plan(command: Command) -> None:
    """Leaves each job's config in its folder, so that what is still to come can be told.

    A search finds its jobs as it goes. Jobs that did not run since one had failed may run again.
    """
    for job in command.jobs:
        (Path(job.out) / STOPPED).unlink(missing_ok=True)
    for job in () if command.search else command.jobs:
        if not (folder_of(job) / CONFIG).exists():
            # Another launcher may be planning the same, or running it already.
            with suppress(FileExistsError, FileNotFoundError):
                write_config(job, folder_of(job), alone=True)


def report(jobs: list[DictConfig]) -> int:
    """Prints how the jobs ended and gives the exit code: 0 all done, 1 some not, 2 some wrong.

    All is read from their folders, since a job may have run in any process, on any machine.
    """
    folders = {folder_of(job): job for job in jobs}
    open_jobs, mistakes = {}, []
    for folder, job in folders.items():
        try:
            record = at(folder)
        except UserError as error:
            open_jobs[folder] = f"no result: {error}"
            continue
        if record.status != "done":
            open_jobs[folder] = f"{record.status}: {record.reason}"
            told = (record.reason or "").splitlines() if record.mistake else []
            mistakes += foreign(job, folder) or told
    print(f"{len(folders) - len(open_jobs)} of {len(folders)} runs done")
    for folder, reason in open_jobs.items():
        print(f"  {folder}: {reason}")
    return tell(mistakes) if mistakes else int(bool(open_jobs))


def tell(messages: Iterable[str]) -> int:
    """Prints each message once and gives the exit code of wrong input."""
    print(*dict.fromkeys(messages), sep="\n", file=sys.stderr)
    return 2
