"""What the job server imports, once for all jobs and model checks; imported nowhere else.

A signal to the whole process group is for the launcher and its job. It must not end the server
between them, through which the launcher learns how the job ended.
"""

import signal

from said_lightning.runs.signals import ASKING
from said_lightning.training import budget, run

__all__ = ["budget", "run"]

for signum in ASKING:
    signal.signal(signum, signal.SIG_IGN)
