"""What the server that forks the jobs imports, once for all of them; nothing else does.

A signal to the whole process group is for the launcher and its job, and must not end the server
between them, through which the launcher learns how the job ended.
"""

import signal

from said_lightning.runs.signals import ASKING
from said_lightning.training import run as training

__all__ = ["training"]

for signum in ASKING:
    signal.signal(signum, signal.SIG_IGN)
