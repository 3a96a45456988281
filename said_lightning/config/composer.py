"""Hydra's config loader for the jobs of a command: composes each once, and hands it on."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from said_lightning.config.identity import RunSpec
from said_lightning.config.schema import Config
from said_lightning.config.stored import plan, read_spec, typed, validate_stored
from said_lightning.config.validate import validate_text
from said_lightning.data.fields import violations_of
from said_lightning.errors import UserError
from said_lightning.runs.labels import name_of_path

# Keys that hold one value, so that no group has their name.
VALUES = {one.name for one in fields(Config) if not is_dataclass(one.type)}
Overrides = tuple[str, ...]
Settle = Callable[[Config], Config]


class Composer(ConfigLoader):
    """Hydra's config loader for the jobs of a command: composes each once, and hands it on.

    A job is known by its overrides. To the workers of a launcher only the jobs' folders travel,
    from which a planned job is read back; any other is composed and planned there. `settle` gives a
    config the d that its method can have.
    """

    def __init__(
        self, loader: ConfigLoader, name: str, hydra: Sequence[str], settle: Settle
    ) -> None:
        self.settle = settle
        self.loader = loader
        self.name = name
        self.hydra = list(hydra)
        self.cwd = Path.cwd()
        self.specs: dict[Overrides, RunSpec] = {}
        self._folders: dict[Overrides, Path] = {}
        self._composed: dict[Overrides, DictConfig] = {}
        self._chosen: dict[Overrides, str | None] = {}
        self._named: dict[str, tuple[Any, Any]] = {}
        self._copies: dict[tuple[Overrides, tuple[str, ...]], DictConfig] = {}
        self._jobs: dict[Overrides, DictConfig] = {}
        self._options: dict[str, list[str]] = {}
        self._parsed: dict[str, Override] = {}

    def __getstate__(self) -> dict[str, Any]:
        here = ("specs", "_composed", "_chosen", "_copies", "_jobs", "_options", "_parsed")
        return vars(self) | {name: {} for name in here}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return a whole config, Hydra's own node included."""
        choices, values = self._parted(overrides)
        config = self.load_configuration(self.name, [*self.hydra, *choices], RunMode.RUN, False)
        self._composed[choices] = _own(config)
        self._chosen[choices] = config.hydra.runtime.choices.get("model")
        _set(config, values)
        return config

    def spec(self, overrides: Sequence[str]) -> RunSpec:
        """Return the spec of a job."""
        key = tuple(overrides)
        if key not in self.specs:
            planned = self._folders.get(key)
            self.specs[key] = read_spec(planned, self.cwd) if planned else self._new(key)
        return self.specs[key]

    def _new(self, overrides: Overrides) -> RunSpec:
        """Compose a job; files are read once for all jobs that differ in plain values alone."""
        choices, values = self._parted(overrides)
        if choices not in self._composed:
            self.compose(choices)
        # Jobs share a copy where each sets what the one before it set, and nothing is left over.
        keys = tuple(override.key_or_group for override in values)
        if fresh := (choices, keys) not in self._copies:
            self._copies[choices, keys] = deepcopy(self._composed[choices])
        config = self._copies[choices, keys]
        _set(config, values)
        name = self._name_of_model(
            config, choices, {o.key_or_group for o in map(self._parse, overrides)}
        )
        missing = OmegaConf.missing_keys(config) - ({"model.name"} if name else set())
        if missing:
            raise UserError(*(f"{key}: has no value" for key in sorted(missing)))
        plain: Any = OmegaConf.to_container(config, resolve=True)
        plain["model"]["name"] = name or plain["model"]["name"]
        if wrong := validate_text(plain):
            raise UserError(*wrong)
        if not fresh and name is None and not any("${" in one for one in overrides):
            job: Config = OmegaConf.to_object(config)  # type: ignore[assignment]
            return RunSpec.of(self.settle(job), self.cwd)
        # What an interpolation gives may be of any type.
        try:
            return RunSpec.of(self.settle(typed(plain)), self.cwd)
        except OmegaConfBaseException as error:
            wrong = violations_of(Config, plain) or [str(error).splitlines()[0]]
            raise UserError(*wrong) from None

    def _name_of_model(self, config: DictConfig, choices: Overrides, given: set[str]) -> str | None:
        """Return the name of a model whose path was given without one; None where it has its own.

        The name in a model's yaml is of the path beside it.
        """
        model, choice = config.model, self._chosen[choices]
        if OmegaConf.is_missing(model, "path") or "model.name" in given:
            return None
        if not OmegaConf.is_missing(model, "name"):
            if choice is None or not {"model.path", "experiment"} & given:
                return None
            if choice not in self._named:
                alone = [*self.hydra, f"model={choice}"]
                own = self.load_configuration(self.name, alone, RunMode.RUN, False).model
                self._named[choice] = _raw(own, "path"), _raw(own, "name")
            path, name = self._named[choice]
            if _raw(model, "path") == path or _raw(model, "name") != name:
                return None
        return name_of_path(str(model.path))

    def _parted(self, overrides: Sequence[str]) -> tuple[Overrides, list[Override]]:
        """Part the overrides that choose files from those that set one value, whatever it was."""
        parsed = [self._parse(one) for one in overrides]
        values = [
            one
            for one in parsed
            if one.type is OverrideType.CHANGE
            and not isinstance(one.value(), dict)
            and not self.options(one.key_or_group)
        ]
        return tuple(o.input_line or "" for o in parsed if o not in values), values

    def _parse(self, override: str) -> Override:
        """Parse an override, once for all jobs that share it."""
        if override not in self._parsed:
            self._parsed[override] = OverridesParser.create().parse_override(override)
        return self._parsed[override]

    def options(self, group: str) -> list[str]:
        """Return the names of a group's configs, wherever they lie; none where it is no group."""
        if "." in group or group in VALUES:  # which Hydra would look for among all yamls
            return []
        if group not in self._options:
            self._options[group] = self.get_group_options(group)
        return self._options[group]

    def plan(self, overrides: Sequence[str]) -> RunSpec:
        """Return the spec of a job whose folder holds its config and its record.

        Raises UserError where the folder is another run's.
        """
        key, spec = tuple(overrides), self.spec(overrides)
        if key not in self._folders:
            if errors := validate_stored(spec):
                raise UserError(*errors)
            plan(spec)
            self._folders[key] = spec.folder
        return spec

    def planned(self) -> list[RunSpec]:
        """Return the specs of all planned jobs; others may be planned meanwhile."""
        return [self.spec(overrides) for overrides in list(self._folders)]

    def at(self, folder: Path) -> RunSpec:
        """Return the spec of the planned job with this folder."""
        here = (spec for spec in self.specs.values() if spec.folder == folder)
        return next(here, None) or read_spec(folder, self.cwd)

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """Hand a planned job's config to a launcher, with its place as Hydra's output folder."""
        key = tuple(sweep_overrides)
        # Hydra's sweeper asks for each job before its launcher does.
        if key not in self._jobs:
            self._jobs[key] = self._job(master_config, key)
        return self._jobs[key]

    def _job(self, master_config: DictConfig, overrides: Overrides) -> DictConfig:
        spec = self.plan(overrides)
        config = OmegaConf.create(asdict(spec.config))
        config.hydra = deepcopy(master_config.hydra)
        OmegaConf.set_readonly(config.hydra, None)
        config.hydra.overrides.task = list(overrides)
        config.hydra.run.dir = str(spec.folder)
        config.hydra.sweep.dir, config.hydra.sweep.subdir = str(spec.out), spec.name
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Compose a config as Hydra does."""
        return self.loader.load_configuration(
            config_name, overrides, run_mode, from_shell, validate_sweep_overrides
        )

    def get_search_path(self) -> Any:
        """Return where configs are sought."""
        return self.loader.get_search_path()

    def get_sources(self) -> Any:
        """Return the sources of configs."""
        return self.loader.get_sources()

    def list_groups(self, parent_name: str) -> list[str]:
        """Return the groups below a group."""
        return self.loader.list_groups(parent_name)

    def get_group_options(self, group_name: str, *arguments: Any, **options: Any) -> list[str]:
        """Return the names of a group's configs, those of a search path in a command included."""
        options = {"config_name": self.name, "overrides": self.hydra} | options
        return self.loader.get_group_options(group_name, *arguments, **options)

    def compute_defaults_list(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode
    ) -> Any:
        """Return the defaults list of a config."""
        return self.loader.compute_defaults_list(config_name, overrides, run_mode)


def _set(config: DictConfig, values: Sequence[Override]) -> None:
    for override in values:
        # Keys that the schema lacks are judged before, and free where they are left.
        OmegaConf.update(config, override.key_or_group, override.value(), force_add=True)


def _raw(node: DictConfig, key: str) -> Any:
    """Return a value as it is written, an interpolation unresolved."""
    return OmegaConf.to_container(node, resolve=False)[key]  # type: ignore[call-overload, index]


def _own(config: DictConfig) -> DictConfig:
    """Return a copy of a composed config, which has the schema's types, without Hydra's node."""
    own = deepcopy(config)
    with open_dict(own):
        del own["hydra"]
    return own
