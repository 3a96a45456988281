"""Hydra's entry: `python train.py [-m] model=NAME task=NAME method=full|did|said d=INT ...`."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from said_lightning.config.compose import Command, plan, read_command, report, tell
from said_lightning.config.schema import folder_of, problems
from said_lightning.config.stored import foreign, unwritable
from said_lightning.errors import UserError

CONF = Path(__file__).parent.resolve() / "conf"
# Hydra answers these itself and runs nothing.
QUESTIONS = {"-h", "--help", "--hydra-help", "-c", "--cfg", "-i", "--info", "--version"}


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def train(cfg: DictConfig) -> float | None:
    """Trains one job and gives Hydra its metric; other jobs go on where it fails."""
    from said_lightning.training.job import run

    return run(cfg).metric.value


def main() -> int:
    """Checks the whole command, trains, and gives the exit code: 0 done, 1 some failed, 2 wrong."""
    if QUESTIONS & {argument.partition("=")[0] for argument in sys.argv[1:]}:
        train()
        return 0
    try:
        command = read_command(sys.argv[1:], CONF)
        if wrong := [*command.mistakes, *job_problems(command)]:
            raise UserError(*wrong)
    except UserError as error:
        return tell(error.messages)
    plan(command)
    try:
        train()
    finally:
        code = report(searched() if command.search else command.jobs)
    return code


def searched() -> list[DictConfig]:
    """Gives the jobs that a search made."""
    from hydra_plugins.d90_sweeper import asked

    return asked


def job_problems(command: Command) -> list[str]:
    """Tells what is wrong with the jobs of a command, before any of them starts."""
    from said_lightning.training.run import model_problems

    found = [problem for job in command.jobs for problem in problems(job)]
    if not found:
        places = [(*unwritable(job.out), *foreign(job, folder_of(job))) for job in command.jobs]
        found = [line for lines in places for line in lines]
    of_models = [problem for job in command.jobs for problem in model_problems(job)]
    if command.mistakes:
        # A mistaken model, method or d leaves its default, whose budget says nothing.
        of_models = [problem for problem in of_models if not problem.startswith("d=")]
    return found + of_models


if __name__ == "__main__":
    sys.exit(main())
