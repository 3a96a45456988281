"""What a command would do: everything that is wrong with it, or else its budget."""

import json
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache

from said_lightning.config.compose import Command, read_command
from said_lightning.config.identity import RunSpec
from said_lightning.config.schema import ModelConfig
from said_lightning.config.stored import validate_stored
from said_lightning.config.validate import validate_config, validate_out
from said_lightning.data.fields import violations
from said_lightning.data.readers import data_bytes, look_into, read_task
from said_lightning.data.splits import SplitRows, expected_rows
from said_lightning.data.task import TaskConfig
from said_lightning.data.validate import validate_task
from said_lightning.errors import UserError
from said_lightning.models.locate import how_to_fetch, locate
from said_lightning.training import server
from said_lightning.training.sizes import settle

# Local data up to this size are read and checked, a second for each 100,000 rows; of larger ones
# the first rows, and all by training before it begins.
READ_BYTES = 2**23


def check(arguments: Sequence[str]) -> list[str]:
    """Return the budget of each of a command's jobs as text.

    Raises UserError with everything that is wrong and can be known without torch, within seconds;
    where nothing is, with what the models' shapes show.
    """
    command = read_command(arguments, settle)
    rows: dict[str, SplitRows] = {}
    errors: list[str] = []
    tasks = [spec.config.split_task for spec in command.specs]
    for key, task in {str(task): task for task in tasks}.items():
        if violations(task) or validate_task(task):
            continue  # in `validate_command` too
        try:
            rows[key] = split_rows(task)
        except UserError as error:
            errors += error.messages
    validate_command(command, errors)
    jobs = [
        (spec.name, spec.config, rows[str(task)])
        for spec, task in zip(command.specs, tasks, strict=True)
    ]
    budgets: list[str] = server.call("said_lightning.training.budget:budgets", jobs)
    return budgets


def validate_command(command: Command, more: Sequence[str] = ()) -> None:
    """Raise UserError with everything that is wrong with a command and needs no model to know."""
    errors = list(command.errors)
    specs = command.specs
    for spec in specs:
        errors += validate_config(spec.config)
    for out in dict.fromkeys(spec.out for spec in specs):
        errors += validate_out(out)
    errors += validate_loggers(specs)
    for model in {repr(spec.config.model): spec.config.model for spec in specs}.values():
        errors += validate_model_path(model)
    errors += [line for spec in specs for line in validate_stored(spec)]
    if errors := [*errors, *more]:
        raise UserError(*dict.fromkeys(errors))


def validate_loggers(specs: Sequence[RunSpec]) -> list[str]:
    """Return what is wrong with the loggers' classes and options, which only their import shows."""
    loggers = {repr(spec.config.logger): spec.config.logger for spec in specs}.values()
    asked = [one for one in loggers if one.name != "none" and (one.path or one.options)]
    if not asked:
        return []
    found: list[str] = server.call("said_lightning.training.loggers:validate_loggers", asked)
    return found


def validate_models(specs: Sequence[RunSpec]) -> None:
    """Raise UserError with what is wrong with the models of jobs, and with d for them."""
    configs = [spec.config for spec in specs]
    if errors := server.call("said_lightning.training.budget:validate_models", configs):
        raise UserError(*errors)


def validate_model_path(model: ModelConfig) -> list[str]:
    """Return what is wrong with where a model lies, without torch and without the network."""
    try:
        where = locate(model)
        file: object = Path(where) / "config.json"
        if not Path(where).is_dir():
            file = try_to_load_from_cache(where, "config.json", revision=model.revision)
            if not isinstance(file, str):
                offline = constants.HF_HUB_OFFLINE
                return [how_to_fetch(model, "HF_HUB_OFFLINE is set")] if offline else []
        if not Path(str(file)).is_file() and Path(str(file)).exists():
            return [f"model.path={model.path}: its config.json is not a file"]
        config = json.loads(Path(str(file)).read_text(encoding="utf-8"))
    except UserError as error:
        return list(error.messages)
    except OSError as error:
        return [f"model.path={model.path}: its config.json cannot be read: {error.strerror}"]
    except (ValueError, RecursionError) as error:
        return [f"model.path={model.path}: its config.json: {error}"]
    if not isinstance(config, dict):
        return [f"model.path={model.path}: its config.json: expected an object in braces"]
    return []


def split_rows(task: TaskConfig) -> SplitRows:
    """Read a task's local data and return the rows of each part; the expected ones if unread."""
    size = data_bytes(task)
    if size is not None and size <= READ_BYTES:
        return read_task(task).rows
    if size is not None:
        look_into(task)
    return expected_rows(task)
