"""What a command would do: everything that is wrong with it, or else its budget."""

import json
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache
from omegaconf import DictConfig, OmegaConf

from said_lightning.config.compose import read_command
from said_lightning.config.schema import ModelConfig, problems, run_folder, typed
from said_lightning.config.stored import unwritable
from said_lightning.data.readers import data_bytes, read_task
from said_lightning.data.task import TaskConfig
from said_lightning.data.validate import task_errors
from said_lightning.errors import UserError
from said_lightning.models.locate import how_to_fetch, locate

# Local data up to this size are read and checked, a second for each 100,000 rows; larger ones are
# left to train.py, which does so before it trains.
READ_BYTES = 2**23


def check(arguments: list[str], conf: Path) -> Iterator[str]:
    """Yields the budget of each of a command's jobs as text.

    Raises UserError with every mistake that can be known without torch, within seconds; and where
    there is none, with those that the models' shapes show.
    """
    command = read_command(arguments, conf)
    mistakes = list(command.mistakes)
    mistakes += [problem for job in command.jobs for problem in problems(job)]
    mistakes = mistakes or [line for job in command.jobs for line in unwritable(job.out)]
    configs = [typed(job) for job in command.jobs if not OmegaConf.missing_keys(job)]
    for model in {str(config.model): config.model for config in configs}.values():
        mistakes += model_mistakes(model)
    rows: dict[str, int | None] = {}
    for key, task in {str(config.task): config.task for config in configs}.items():
        try:
            rows[key] = None if task_errors(task) else training_rows(task)
        except UserError as error:
            mistakes += error.messages
    if mistakes:
        raise UserError(*dict.fromkeys(mistakes))
    yield from _budgets(command.jobs, rows)


def model_mistakes(model: ModelConfig) -> list[str]:
    """Tells what is wrong with where a model lies, without torch and without the network."""
    try:
        where = locate(model)
        file: object = Path(where) / "config.json"
        if not Path(where).is_dir():
            file = try_to_load_from_cache(where, "config.json", revision=model.revision)
            if not isinstance(file, str):
                offline = constants.HF_HUB_OFFLINE
                return [how_to_fetch(model, "HF_HUB_OFFLINE is set")] if offline else []
        json.loads(Path(str(file)).read_text(encoding="utf-8"))
    except UserError as error:
        return list(error.messages)
    except OSError as error:
        return [f"model.path={model.path}: its config.json cannot be read: {error.strerror}"]
    except ValueError as error:
        return [f"model.path={model.path}: {error}"]
    return []


def training_rows(task: TaskConfig) -> int | None:
    """Reads a task's local data and gives the number of training rows; None if unknown."""
    size = data_bytes(task)
    if size is not None and size <= READ_BYTES:
        return len(read_task(task).train)
    rows = task.rows.train
    return rows if rows is None or task.train_limit is None else min(rows, task.train_limit)


def _budgets(jobs: list[DictConfig], rows: dict[str, int | None]) -> Iterator[str]:
    # torch takes seconds to import, and mistakes should not wait for it.
    from said_lightning.training.budget import estimate

    mistakes: list[str] = []
    lines: dict[str, None] = {}
    for job in jobs:
        config = typed(job)
        try:
            found = estimate(config, rows[str(config.task)])
        except UserError as error:
            mistakes += error.messages
        else:
            lines |= dict.fromkeys(["\n".join([run_folder(job), *found])])
    if mistakes:
        raise UserError(*dict.fromkeys(mistakes))
    yield from lines
