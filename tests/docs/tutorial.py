"""The tutorial's run: `python -m tests.docs.tutorial` makes it anew, and keeps what it prints."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"
MINUTES = 5


def read() -> Any:
    """Return the notebook as it lies there."""
    return nbformat.read(NOTEBOOK, as_version=4)


def execute(folder: Path) -> Any:
    """Return the notebook as a clean kernel runs it now, with nothing but what lies in a folder."""
    notebook = read()
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SAID_CACHE": str(folder / "cache"),
        "TMPDIR": str(folder),
    }
    client = NotebookClient(
        notebook, timeout=60 * MINUTES, coalesce_streams=True, record_timing=False
    )
    return client.execute(cwd=str(folder), env=environment)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(execute(Path(folder)), NOTEBOOK)
