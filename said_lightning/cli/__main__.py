"""The same as `said`: `python -m said_lightning.cli`."""

from said_lightning.cli import main

main()
