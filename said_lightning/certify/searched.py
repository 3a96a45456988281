"""What was searched before a run was chosen, counted from the runs that a sweep left."""

import json
from collections import defaultdict
from pathlib import Path

from said_lightning.config import Config, decisive
from said_lightning.errors import UserError
from said_lightning.kept import read_config
from said_lightning.runs.index import find


def searched(folder: Path, sweep: Path) -> dict[str, int]:
    """Counts the values of each part of the config among a sweep's subspace runs on a run's task.

    Their product is at least the number of runs, so a uniform prior over it pays for any choice
    among them, however it was made. Runs that failed or wait are counted too.

    Raises UserError where the sweep, or the config of one of its runs, cannot be read, and where
    the run is not among them.
    """
    task = read_config(folder).task.name
    values: dict[str, set[str]] = defaultdict(set)
    records, problems = find(sweep)
    if folder.resolve() not in {one.folder.resolve() for one in records if one.folder}:
        problems.append(f"{sweep}: {folder} is not below it; expected the folder of its sweep")
    if problems:
        raise UserError(*problems)
    for record in records:
        if record.task != task or record.method == "full" or record.folder is None:
            continue
        config = decisive(read_config(record.folder))
        for part in Config.__dataclass_fields__:
            if part in config:
                values[part].add(json.dumps(config[part], sort_keys=True))
    return {part: len(found) for part, found in values.items()}
