"""Hydra's sweeper `d90`: hands out the runs that said_lightning.search asks for."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

log = logging.getLogger(__name__)

# The configs of all runs that the searches of this process asked for, made before or now.
asked: list[DictConfig] = []


class D90Sweeper(Sweeper):
    """Searches every lane that the command line means; conf/hydra/sweeper/d90.yaml has the keys.

    A run that is done is read from its folder, and so is one that failed in this call.
    """

    def __init__(self, params: Any = None, **settings: Any) -> None:
        self.params = params or {}
        self.settings = settings
        self.started = 0
        self.tried: set[Path] = set()
        self.config: DictConfig
        self.launcher: Launcher

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keeps what Hydra gives, and makes the launcher."""
        self.config = config
        self.loader = hydra_context.config_loader
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Searches, and prints d90 of each lane."""
        from said_lightning.config.search import SEARCHED
        from said_lightning.search.study import Settings, search

        # An experiment's own grid of d and seeds is the search's to choose.
        fixed = [f"{key}={value}" for key, value in self.params.items() if key not in SEARCHED]
        parsed = OverridesParser.create().parse_overrides(fixed + arguments)
        lanes = [list(lane) for lane in BasicSweeper.split_arguments(parsed, None)[0]]
        given = self.settings
        # A learning rate that is given is the one there is.
        rates = given["rates"] if self.config.lr is None else [1]
        settings = Settings(
            **given
            | {"rates": [float(rate) for rate in rates], "tolerance": float(given["tolerance"])},
            step_ratio=self.config.trainer.step_ratio,
        )
        search([lane for lane in lanes if "method=full" not in lane], self.run, settings)
        self.tell()

    def run(self, batch: Sequence[Sequence[str]]) -> list[Any]:
        """Makes the runs that are open and gives the record of every run of the batch."""
        configs = [self.loader.load_sweep_config(self.config, list(one)) for one in batch]
        asked.extend(configs)
        folders = [folder(config) for config in configs]
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
                self.launcher.launch(jobs, initial_job_idx=self.started)
            except Exception as error:  # some launchers raise where a job was killed
                log.warning("a job did not end: %s", error)
            self.started += len(jobs)
        return [record(path) for path in folders]

    def tell(self) -> None:
        """Prints the table of d90 that `said d90` makes of the same folders."""
        from rich.console import Console

        from said_lightning.analysis.estimator import estimate
        from said_lightning.analysis.table import show

        records = [record(path) for path in dict.fromkeys(map(folder, asked))]
        rows = estimate(found for found in records if found is not None)
        Console(width=100).print(show(rows))


def folder(config: DictConfig) -> Path:
    """Gives the folder of a run."""
    from said_lightning.config.schema import run_folder

    return Path(config.out) / run_folder(config)


def record(path: Path) -> Any:
    """Gives the record of a run, None where its folder has none."""
    from said_lightning.errors import UserError
    from said_lightning.runs.record import RESULT, read

    try:
        return read(path / RESULT)
    except UserError:
        return None
