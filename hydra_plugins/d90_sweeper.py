"""Hydra's sweeper `d90`: hands out the runs that said_lightning.search asks for."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

log = logging.getLogger(__name__)


class D90Sweeper(Sweeper):
    """Searches every series that the command line means.

    conf/hydra/sweeper/d90.yaml has the keys. A run that is done is read from its folder, and so is
    one that failed in this call.
    """

    def __init__(self, params: Any = None, **settings: Any) -> None:
        self.params = params or {}
        self.settings = settings
        self.started = 0
        self.tried: set[Path] = set()
        self.trouble: list[Exception] = []
        self.config: DictConfig
        self.launcher: Launcher

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra hands over, and make the launcher."""
        self.config = config
        # The command's own, which composes and plans each job once.
        self.composer: Any = hydra_context.config_loader
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Search, and raise what the launcher has raised meanwhile."""
        from said_lightning.config.compose import split
        from said_lightning.config.overrides import SEARCHED
        from said_lightning.search.protocol import Plan
        from said_lightning.search.study import search

        # An experiment's own grid of d and seeds is the search's to choose.
        fixed = [f"{key}={value}" for key, value in self.params.items() if key not in SEARCHED]
        parser = OverridesParser.create(config_loader=self.composer)
        given = [list(one) for one in split(parser.parse_overrides(fixed + arguments))]
        factors = {key: tuple(map(float, self.settings[key])) for key in ("rates", "lengths")}
        settings = self.settings | factors
        nested = settings.pop("nested")
        # Series that differ in what they do not read, as PEFT's in the projection, are one.
        each = {self.composer.spec(one).folder: one for one in reversed(given)}
        own = [one for one in each.values() if "method=full" not in one]
        series = [self.series(one) for one in given if one in own]
        search(series, self.run, Plan(**settings), nested)
        if self.trouble:
            raise self.trouble[0]

    def series(self, overrides: list[str]) -> Any:
        """Return a series with the values of its config that its jobs are factors on."""
        from said_lightning.search.study import Series

        own = self.composer.spec(overrides).config

        def nearest(d: int) -> int:
            return int(self.composer.settle(replace(own, d=d)).d)

        key, rate = own.own_rate
        one = Series(overrides, key, rate, 0, own.trainer.epochs, 0, nearest)
        full = self.composer.spec(one.baseline).config.trainer
        return one._replace(full_lr=full.full_lr, full_epochs=full.epochs)

    def run(self, batch: Sequence[Sequence[str]]) -> list[Any]:
        """Make the runs that are open and return the record of every run of the batch."""
        folders = [self.composer.plan(one).folder for one in batch]
        open_runs = {
            path: list(one)
            for path, one in zip(folders, batch, strict=True)
            if ((found := record(path)) is None or found.status != "done")
            and path not in self.tried
        }
        self.tried |= open_runs.keys()
        if open_runs:
            jobs = list(open_runs.values())
            try:
                for ended in self.launcher.launch(jobs, initial_job_idx=self.started):
                    _ = ended.return_value  # raises what the job raised
            except Exception as error:  # some launchers raise where a job was killed
                self.trouble.append(error)
                log.warning("the launcher failed, and the search goes on: %s", error)
            self.started += len(jobs)
        return [record(path) for path in folders]


def record(path: Path) -> Any:
    """Return the record of a run, None where its folder has none."""
    from said_lightning.errors import UserError
    from said_lightning.runs.index import at

    try:
        return at(path)
    except UserError:
        return None
