"""The processor time of a program, beside the least that reading the same runs takes."""

import os
import subprocess
import sys
from pathlib import Path

SAID = "from said_lightning.cli import main; main()"
# What no reader can do without: the files, and for d90 the libraries that fit and draw.
FILES = """
import json, sys
from pathlib import Path
for path in Path(sys.argv[-1]).rglob("result.json"):
    json.loads(path.read_text())
"""
LIBRARIES = "import matplotlib.pyplot, numpy, scipy.stats"


def spent(program: str, *arguments: str | Path) -> tuple[float, str]:
    """Return the seconds of processor time that a program takes, and what it prints."""
    before = os.times()
    # As a user's shell is, not as the tests' is.
    own = {key: value for key, value in os.environ.items() if "NUM_THREADS" not in key}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=own)
    after = os.times()
    assert ended.returncode == 0, ended.stderr
    mine = after.children_user + after.children_system
    return mine - before.children_user - before.children_system, ended.stdout
