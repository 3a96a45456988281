"""From a command line to its exit code: check everything, plan, launch, report."""

import logging
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import indent

import hydra
from hydra import initialize_config_dir

# What Hydra's launchers ask of their context; it calls what a user sets in hydra.callbacks.
from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log, run_job
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext
from omegaconf import DictConfig

from said_lightning.config.compose import Command, conf_folder, parse_flags, read_command
from said_lightning.config.composer import Composer
from said_lightning.config.identity import RunSpec
from said_lightning.config.manual import manual
from said_lightning.errors import UserError
from said_lightning.runs.index import STOPPED, at
from said_lightning.runs.secrets import shown
from said_lightning.training import server
from said_lightning.training.dry_run import validate_command, validate_models
from said_lightning.training.follow import Follower, Reader
from said_lightning.training.sizes import settle

log = logging.getLogger(__name__)


def main(arguments: Sequence[str], reader: Reader | None = None) -> int:
    """Train what a command line asks for; return 0 where all is done, 1 some failed, 2 it is wrong.

    Nothing is written before everything that can be checked was. `reader` reads d90 while runs go
    on, and in the end of a sweep.
    """
    try:
        flags = parse_flags(arguments)
        if is_question(flags):
            return answer(arguments)
        with Follower(reader) as follower:
            return run_all(arguments, follower)
    except UserError as error:
        return refuse(error.messages)


def run_all(arguments: Sequence[str], follower: Follower) -> int:
    """Check a command line, launch its jobs while they are followed, and report how they ended."""
    server.start()
    command = read_command(arguments, settle)
    validate_command(command)
    validate_models(command.specs)
    with initialize_config_dir(str(conf_folder()), job_name="train", version_base="1.3"):
        launch = prepare(command)
        plan(command)
        specs = command.composer.planned if command.search else lambda: command.specs
        follower.follow(specs, command.multirun)
        try:
            code = launched(launch)
        finally:
            follower.close()
            ended = report(specs())
            follower.table()
    return max(code, ended)


def launched(launch: Callable[[], None]) -> int:
    """Launch the jobs; return 1, and print why, where the launcher, the sweeper or a job raises.

    Raises UserError where it does.
    """
    try:
        launch()
    except UserError:
        raise
    except Exception as error:  # of any kind, as by a launcher of whose jobs one was killed
        reason = str(error).strip() or type(error).__name__
        print(shown(f"not all was run: {reason}"), file=sys.stderr)
        log.debug("", exc_info=True)
        return 1
    return 0


def is_question(flags: Namespace) -> bool:
    """Return whether a command line asks for help, a config or Hydra itself, and runs nothing."""
    asked = (flags.help, flags.hydra_help, flags.cfg, flags.info, flags.shell_completion)
    return any(one not in (None, False) for one in asked)


def answer(arguments: Sequence[str]) -> int:
    """Print the help, or let Hydra print a config or what it knows of itself; 2 where it cannot."""
    if parse_flags(arguments).help:
        print(manual(arguments))
        return 0
    sys.argv[1:] = arguments
    ask = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")
    try:
        ask(lambda _: None)()
    except SystemExit as end:
        return 2 if end.code else 0
    except ValueError as error:  # flags that exclude each other
        raise UserError(str(error)) from None
    return 0


@dataclass(frozen=True)
class Task:
    """What Hydra runs for each job, in any process: the run whose folder Hydra names."""

    composer: Composer

    def __call__(self, config: DictConfig) -> float | None:
        """Run a job and return its metric; other jobs go on where it fails."""
        from said_lightning.training.job import run

        return run(self.composer.at(Path(HydraConfig.get().runtime.output_dir))).metric.value


def prepare(command: Command) -> Callable[[], None]:
    """Return what launches a command's jobs; nothing is written yet.

    Raises UserError where the sweeper or the launcher cannot start.
    """
    callbacks, task = Callbacks(command.config), Task(command.composer)
    context = HydraContext(config_loader=command.composer, callbacks=callbacks)
    if not command.multirun:
        return partial(run_one, command, task, context)
    try:
        sweeper = Plugins.instance().instantiate_sweeper(
            hydra_context=context, task_function=task, config=command.config
        )
    except Exception as error:  # of any kind, by what a plugin lacks
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from None
        choices = command.config.hydra.runtime.choices
        lines = str(cause).splitlines() or [type(cause).__name__]
        raise UserError(
            f"hydra/launcher={choices['hydra/launcher']} hydra/sweeper={choices['hydra/sweeper']}: "
            f"cannot start: {lines[0]}"
        ) from None
    # submitit itself would look for it once the jobs are planned.
    by_slurm = getattr(getattr(sweeper, "launcher", None), "_EXECUTOR", None) == "slurm"
    if by_slurm and shutil.which("sbatch") is None:
        name = command.config.hydra.runtime.choices["hydra/launcher"]
        raise UserError(f"hydra/launcher={name}: expected Slurm's sbatch on this machine")
    return partial(sweep, command, sweeper, callbacks)


def run_one(command: Command, task: Task, context: HydraContext) -> None:
    """Run the one job of a command without -m, with Hydra's callbacks around it."""
    name = command.composer.name
    config = command.composer.load_sweep_config(command.config, list(command.jobs[0]))
    context.callbacks.on_run_start(config=config, config_name=name)
    done = run_job(task, config, "hydra.run.dir", None, context)
    context.callbacks.on_run_end(config=config, config_name=name, job_return=done)
    _ = done.return_value  # raises what the job raised


def sweep(command: Command, sweeper: Sweeper, callbacks: Callbacks) -> None:
    """Let Hydra's sweeper hand out the jobs of a command, with Hydra's callbacks around them."""
    config, name = command.config, command.composer.name
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    callbacks.on_multirun_start(config=config, config_name=name)
    try:
        sweeper.sweep(list(config.hydra.overrides.task))
    finally:
        callbacks.on_multirun_end(config=config, config_name=name)


def plan(command: Command) -> None:
    """Leave each job's config and record in its folder, so that what is still to come is known.

    A search finds its jobs as it goes. Jobs that did not run since one had failed may run again.
    """
    for out in {spec.out for spec in command.specs}:
        (out / STOPPED).unlink(missing_ok=True)
    if not command.search:
        for job in command.jobs:
            command.composer.plan(job)


def report(specs: Iterable[RunSpec]) -> int:
    """Print how the jobs ended and return the exit code: 0 all done, 1 some not, 2 some wrong.

    All is read from their folders, since a job may have run in any process, on any machine.
    """
    folders = {spec.folder: spec.place for spec in specs}
    open_jobs, mistakes = {}, []
    for folder, place in folders.items():
        try:
            record = at(folder)
        except UserError as error:
            open_jobs[place] = f"no result: {error}"
            continue
        if record.status != "done":
            open_jobs[place] = ": ".join(filter(None, (record.status, record.reason)))
            mistakes += (record.reason or "").splitlines() if record.mistake else []
    print(f"{len(folders) - len(open_jobs)} of {len(folders)} runs done")
    for place, reason in open_jobs.items():
        print(indent(shown(f"{place}: {reason}"), "  "))
    return refuse(mistakes) if mistakes else int(bool(open_jobs))


def refuse(messages: Iterable[str]) -> int:
    """Print each message once and return the exit code of wrong input."""
    print(*map(shown, dict.fromkeys(messages)), sep="\n", file=sys.stderr)
    return 2
