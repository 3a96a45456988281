"""Hydra's entry, the same as `said train`: `python train.py [-m] model=NAME task=NAME d=INT`."""

import sys

from said_lightning.training.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
