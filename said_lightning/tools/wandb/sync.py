"""Push W&B runs that were logged offline."""

import subprocess
import sys
from pathlib import Path

from said_lightning.errors import UserError, needs


def offline_runs(path: Path) -> list[Path]:
    """Return the folders of offline W&B runs at any depth below `path` that were not pushed yet."""
    files = sorted(path.rglob("wandb/offline-run-*/run-*.wandb"))
    return [file.parent for file in files if not file.with_name(f"{file.name}.synced").exists()]


def sync(path: Path) -> int:
    """Push every such run with W&B's own client and return their number.

    The client finds server and key as ever: `wandb login`, or WANDB_BASE_URL and WANDB_API_KEY. A
    run that was pushed is marked beside its file, and is not pushed again.

    Raise UserError where there is no such folder or the client fails, which has printed why.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    runs = offline_runs(path)
    if runs:
        needs("wandb", "wandb", "said sync")
        ended = subprocess.run([sys.executable, "-m", "wandb", "sync", "--yes", *map(str, runs)])
        if left := offline_runs(path):
            raise UserError(f"{path}: {len(left)} of {len(runs)} runs not pushed; see above")
        if ended.returncode:
            raise UserError(f"{path}: wandb sync ended with code {ended.returncode}; see above")
    return len(runs)
