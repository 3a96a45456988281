"""Hydra's entry, the same as `said train`: `python train.py [-m] model=NAME task=NAME d=INT`."""

import sys

from said_lightning.cli import run


def train() -> int:
    """Train what the command line asks for."""
    from said_lightning.cli.train import start

    return start(sys.argv[1:])


if __name__ == "__main__":
    run(train)
