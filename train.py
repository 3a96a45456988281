"""Hydra's entry: `python train.py [-m] model=NAME task=NAME method=full|did|said d=INT ...`."""

import sys
from collections.abc import Iterable
from pathlib import Path

import hydra
from omegaconf import DictConfig

from said_lightning.command import Command, plan, read_command, report
from said_lightning.config import folder_of, problems
from said_lightning.errors import UserError
from said_lightning.kept import foreign

CONF = Path(__file__).parent.resolve() / "conf"
# Hydra answers these itself and runs nothing.
QUESTIONS = {"-h", "--help", "--hydra-help", "-c", "--cfg", "-i", "--info", "--version"}
# What the jobs of this process found wrong with their data.
mistakes: list[str] = []


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def train(cfg: DictConfig) -> float | None:
    """Trains one job and gives Hydra its metric; other jobs go on where its data are wrong."""
    from said_lightning.job import run

    try:
        return run(cfg).metric.value
    except UserError as error:
        mistakes.extend(error.messages)
        return None


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
    if not command.search:  # its jobs are found as it goes
        plan(command.jobs)
    # Wrong data were told by the job that read them; how the others ended is told all the same.
    try:
        train()
    finally:
        code = report(searched() if command.search else command.jobs)
    return tell(mistakes) if mistakes else code


def searched() -> list[DictConfig]:
    """Gives the jobs that a search made."""
    from hydra_plugins.d90_sweeper import asked

    return asked


def job_problems(command: Command) -> list[str]:
    """Tells what is wrong with the jobs of a command, before any of them starts."""
    from said_lightning.training import model_problems

    found = [problem for job in command.jobs for problem in problems(job)]
    if not found:
        found = [line for job in command.jobs for line in foreign(job, folder_of(job))]
    of_models = [problem for job in command.jobs for problem in model_problems(job)]
    if command.mistakes:
        # A mistaken model, method or d leaves its default, whose budget says nothing.
        of_models = [problem for problem in of_models if not problem.startswith("d=")]
    return found + of_models


def tell(messages: Iterable[str]) -> int:
    """Prints each message once and gives the exit code of wrong input."""
    print(*dict.fromkeys(messages), sep="\n", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
