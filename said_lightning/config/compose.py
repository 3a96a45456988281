"""From a command line to its jobs, composed once, with everything that is wrong with it."""

import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

from hydra import initialize_config_dir

# Hydra's own parser: exactly the flags that the installed Hydra takes, and what else it refuses.
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from said_lightning.config.composer import Composer, Overrides, Settle
from said_lightning.config.identity import RunSpec, absolute
from said_lightning.config.overrides import (
    SEARCHED,
    parse,
    validate_hydra,
    validate_override,
    validate_searched,
    values_of,
)
from said_lightning.config.schema import Config
from said_lightning.config.validate import validate_search, validate_secrets, validate_slurm
from said_lightning.errors import UserError

# The parts of Hydra's node that reach launchers, their files and W&B's.
_HANDED_ON = ("launcher", "sweeper", "job", "run", "sweep", "callbacks")


def conf_folder() -> Path:
    """Return the folder of the package's configs: inside the wheel, or at a checkout's top."""
    package = Path(__file__).parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


@dataclass(frozen=True)
class Command:
    """A command line: its jobs, and what is wrong with it.

    config: the whole config without what is swept, Hydra's node included. jobs: the overrides of
    each job, which `composer` knows the spec of. Of a search, which finds its jobs as it goes, the
    jobs are each series at both ends of its range, or each series' run that grows. Overrides in
    `errors` are left out of the jobs, so that the others can be checked all the same.
    """

    composer: Composer
    config: DictConfig
    jobs: tuple[Overrides, ...]
    multirun: bool
    search: bool
    errors: tuple[str, ...]

    @property
    def specs(self) -> list[RunSpec]:
        """The spec of each job; jobs that differ in what they do not read share one."""
        specs = (self.composer.spec(job) for job in self.jobs)
        return list({spec.folder: spec for spec in specs}.values())


def parse_flags(arguments: Sequence[str]) -> Namespace:
    """Parse a command line's flags as Hydra does; `overrides` holds what is none.

    Raises UserError for a flag that Hydra does not know and for overrides on both sides of one.
    """

    def fail(message: str) -> NoReturn:
        raise UserError(f"{message}; --help lists the flags")

    parser: ArgumentParser = get_args_parser()
    parser.error = fail  # type: ignore[method-assign]
    flags, rest = parser.parse_known_args(list(arguments))
    errors = []
    for one in rest:
        bare = one.lstrip("-")
        if bare == one:
            errors.append(f"{one}: expected all overrides on one side of the flags")
        else:
            hint = f"; an override has no dashes: {bare}" if "=" in bare else ""
            errors.append(f"{one}: no such flag; --help lists them{hint}")
    if flags.experimental_rerun is not None:
        errors.append("--experimental-rerun: not supported; a run's config.yaml holds its config")
    if flags.config_dir is not None and not Path(flags.config_dir).is_dir():
        errors.append(f"--config-dir {flags.config_dir}: no such folder")
    if errors:
        raise UserError(*errors)
    return flags


def as_given(config: Config) -> Config:
    """Return a config whose d its method can have, as every method's but PEFT's can have any."""
    return config


def read_command(arguments: Sequence[str], settle: Settle = as_given) -> Command:
    """Compose every job of a command line; `settle` gives each a d that its method can have.

    Errors are unknown groups, options and keys, values of the wrong type, a sweep without -m, and
    what a search cannot do. Raises UserError, with these too, where nothing can be composed.
    """
    flags = parse_flags(arguments)
    conf = Path(flags.config_path).absolute() if flags.config_path else conf_folder()
    given, extra = list(flags.overrides), []
    if flags.config_dir is not None:
        folder = str(Path(flags.config_dir).absolute()).replace("\\", "\\\\").replace("'", "\\'")
        extra = [f"hydra.searchpath=['file://{folder}']"]
    errors: list[str] = []
    try:
        with (
            initialize_config_dir(str(conf), job_name="train", version_base="1.3"),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("error", "provider=.* is not available")
            hydra = [*extra, *(one for one in given if one.startswith("hydra.searchpath="))]
            composer = Composer(
                *(GlobalHydra.instance().config_loader(), flags.config_name or "config"),
                *(hydra, settle),
            )
            check = partial(validate_override, options=composer.options)
            overrides, errors = parse(given, check, composer)
            return _compose(composer, overrides, flags, errors)
    except (HydraException, OmegaConfBaseException) as error:
        cause = f": {str(error.__cause__).splitlines()[0]}" if error.__cause__ else ""
        raise UserError(*errors, f"{error}{cause}") from None
    except UserWarning as error:
        place = str(error).partition("path=")[2].partition(" is not")[0]
        line = f"hydra.searchpath: file://{place}: no such folder"
        raise UserError(*errors, line) from None


def _compose(
    composer: Composer, overrides: list[Override], flags: Namespace, errors: list[str]
) -> Command:
    """Compose the whole and each job, an experiment's own sweep included."""
    own = [o for o in overrides if not o.is_hydra_override()]
    swept = [o for o in own if o.is_sweep_override()]
    fixed = [_text(o) for o in own if not o.is_sweep_override()]
    errors += _take_hydra(composer, [o for o in overrides if o.is_hydra_override()], fixed)
    config = composer.compose(fixed)
    errors += _validate_hydra_node(config.hydra)
    sweeper = config.hydra.sweeper
    multirun = flags.multirun or (config.hydra.mode == RunMode.MULTIRUN and not flags.run)
    # Launchers and sweepers write there too, in whatever folder they work.
    with suppress(ValueError, OmegaConfBaseException):  # which the jobs are refused for
        out = str(absolute(config.out, composer.cwd))
        config.hydra.run.dir = config.hydra.sweep.dir = out
    config.hydra.mode = RunMode.MULTIRUN if multirun else RunMode.RUN
    config.hydra.overrides.task = [o.input_line for o in own]
    HydraConfig.instance().set_config(config)  # for values that refer to it
    search = "D90Sweeper" in str(sweeper.get("_target_"))
    params = dict(sweeper.get("params") or {}) if multirun else {}
    if not multirun:
        without = ["hydra/sweeper=d90"] if search else []
        without += [o.input_line or "" for o in swept]
        errors += [f"{text}: several values; add -m to sweep" for text in without]
    ends: list[str] = []
    if search:
        params = {key: value for key, value in params.items() if key not in SEARCHED}
        misused = validate_search(sweeper)
        # Wrong ends have no runs.
        ends = [] if misused else _ends(sweeper)
        errors += [*misused, *validate_searched(overrides, params)]
    jobs = _jobs(composer, [f"{key}={value}" for key, value in params.items()], own, ends)
    good, wrong = _composed(composer, jobs)
    errors += wrong
    if search and good and set(good.values()) == {"full"}:
        errors.append("method=full: a search trains it by itself; expected said, did, or both")
    return Command(composer, config, tuple(good), multirun, search, tuple(dict.fromkeys(errors)))


def _take_hydra(composer: Composer, hydra: list[Override], fixed: list[str]) -> list[str]:
    """Hand the composer the overrides of Hydra's own node; return what is wrong with the others."""
    # What keys there are follows from the launcher, the sweeper and the like that are chosen.
    values = [one for one in hydra if one.key_or_group.startswith("hydra.")]
    chosen = [one for one in hydra if one not in values]
    composer.hydra = list(dict.fromkeys([*composer.hydra, *(o.input_line or "" for o in chosen)]))
    if not values:
        return []
    node = composer.compose(fixed).hydra
    wrong = {o.input_line: list(validate_hydra(o, node)) for o in values}
    good = [text or "" for text, found in wrong.items() if not found]
    composer.hydra = list(dict.fromkeys([*composer.hydra, *good]))
    return [line for found in wrong.values() for line in found]


def _validate_hydra_node(hydra: DictConfig) -> list[str]:
    """Return what is wrong with what launchers get, and the secrets in it, resolved or not."""
    node: Any = OmegaConf.to_container(hydra, resolve=False)
    parts = {key: node[key] for key in _HANDED_ON}
    launcher: Any = {}
    with suppress(OmegaConfBaseException):  # what only a job has a value for
        launcher = OmegaConf.to_container(hydra.launcher, resolve=True)
    found = [line for key, part in parts.items() for line in validate_secrets(part, f"hydra.{key}")]
    found += [line for line in validate_secrets(launcher, "hydra.launcher") if line not in found]
    if str(hydra.launcher.get("_target_")).endswith("said_launchers.SlurmLauncher"):
        found += validate_slurm(launcher)
    return found


def _jobs(
    composer: Composer, params: list[str], own: list[Override], ends: list[str]
) -> list[Overrides]:
    """Return the overrides of each job: an experiment's sweep, the command's, a search's ends."""
    parser = OverridesParser.create(config_loader=composer)
    return split(parser.parse_overrides(params) + own + parser.parse_overrides(ends))


def _composed(
    composer: Composer, jobs: Sequence[Overrides]
) -> tuple[dict[Overrides, str], list[str]]:
    """Compose the jobs; return the method of each that can be, and what is wrong with others."""
    methods: dict[Overrides, str] = {}
    errors: list[str] = []
    for job in jobs:
        try:
            methods[job] = composer.spec(job).config.method.name
        except UserError as error:
            errors += error.messages
        except OmegaConfBaseException as error:
            errors.append(str(error).splitlines()[0])
    return methods, errors


def split(overrides: Sequence[Override]) -> list[Overrides]:
    """Return the overrides of each job of a sweep, the product of all values, as Hydra does."""
    lists = {
        o.get_key_element(): [f"{o.get_key_element()}={value}" for value in values_of(o)]
        for o in overrides
    }
    return [tuple(job) for job in product(*lists.values())]


def _text(override: Override) -> str:
    """Return an override as a job of a sweep has it."""
    return f"{override.get_key_element()}={override.get_value_element_as_str()}"


def _ends(sweeper: Any) -> list[str]:
    """Return the overrides of a series' runs at both ends of a search, or of its run that grows."""
    if sweeper.nested is None:
        return [f"d={sweeper.low},{sweeper.high}"]
    return [
        f"d={sweeper.high}",
        f"trainer.grow_from={sweeper.low}",
        f"trainer.epochs={sweeper.nested}",
    ]
