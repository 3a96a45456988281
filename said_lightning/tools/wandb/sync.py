"""Push W&B runs that were logged offline, and the study that they make."""

import os
import subprocess
import sys
from pathlib import Path

from said_lightning.errors import UserError, needs
from said_lightning.tools.wandb.study import log_studies


def offline_runs(path: Path) -> list[Path]:
    """Return the folders of offline W&B runs at any depth below `path` that were not pushed yet."""
    files = sorted(path.rglob("wandb/offline-run-*/run-*.wandb"))
    return [file.parent for file in files if not file.with_name(f"{file.name}.synced").exists()]


def sync(path: Path) -> tuple[int, list[str]]:
    """Push every such run with W&B's own client; return their number, and warnings.

    A study of runs that were logged to W&B is one more run (study.py), made here since no other
    command knows that the study is whole: its runs may come from several commands and machines.

    The client finds server and key as ever: `wandb login`, or WANDB_BASE_URL and WANDB_API_KEY. A
    run that was pushed is marked beside its file, and is not pushed again.

    Raise UserError where there is no such folder or the client fails, which has printed why.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    warnings = log_studies(path)
    runs = offline_runs(path)
    if runs:
        needs("wandb", "wandb", "said sync")
        # A service that logged offline knows no server.
        environment = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"}
        command = [sys.executable, "-m", "wandb", "sync", "--yes", *map(str, runs)]
        ended = subprocess.run(command, env=environment)
        if left := offline_runs(path):
            raise UserError(f"{path}: {len(left)} of {len(runs)} runs not pushed; see above")
        if ended.returncode:
            raise UserError(f"{path}: wandb sync ended with code {ended.returncode}; see above")
    return len(runs), warnings
