"""Selection cost: what was searched before a run was chosen, counted from a sweep's runs."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from said_lightning.config.identity import decisive
from said_lightning.config.schema import Config
from said_lightning.config.stored import read_config
from said_lightning.errors import UserError
from said_lightning.runs.index import at, find
from said_lightning.runs.record import Record


def around(run: Path) -> Path | None:
    """Return the folder of a run's sweep: SWEEP/MODEL/TASK/RUN; None where the run lies elsewhere.

    Raises UserError where the folder holds no run.
    """
    record, folder = at(run), run.resolve()
    if (folder.parent.parent.name, folder.parent.name) != (record.model, record.task):
        return None
    return folder.parents[2]


def searched(folder: Path, sweep: Path | None) -> dict[str, int]:
    """Count what was searched for a run among its sweep's runs, or by the run alone for None.

    Raises UserError where the sweep, or the config of one of its runs, cannot be read, and where
    the run is not among them.
    """
    run = at(folder)
    if sweep is None:
        return count([run], run.task)
    records, problems = find(sweep)
    if folder.resolve() not in {one.folder.resolve() for one in records if one.folder}:
        problems.append(f"{sweep}: {folder} is not below it; expected the folder of its sweep")
    if problems:
        raise UserError(*problems)
    return count(records, run.task)


def count(records: Iterable[Record], task: str) -> dict[str, int]:
    """Count the values of each part of the config among the subspace runs on a task.

    Their product is at least the number of runs, so a uniform prior over it pays for any choice
    among them, however it was made. Runs that failed or wait are counted too.

    Raises UserError where the config of a run cannot be read.
    """
    values: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.task != task or record.method == "full" or record.folder is None:
            continue
        config = decisive(read_config(record.folder))
        for part in Config.__dataclass_fields__:
            if part in config:
                values[part].add(json.dumps(config[part], sort_keys=True))
    return {part: len(found) for part, found in values.items()}


def unpaid(paid: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    """Return the parts of which a certificate pays for fewer values than there are."""
    return [
        f"searched {part} is {paid.get(part, 0)}; found {number}"
        for part, number in found.items()
        if paid.get(part, 0) < number
    ]
