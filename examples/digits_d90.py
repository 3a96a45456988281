"""Measure d90 of a small net for digits in a plain loop: python digits_d90.py [RUNS].

Needs scikit-learn.
"""

import sys
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from said_lightning import Subspace, measure

x, y = map(torch.tensor, load_digits(return_X_y=True))
x = x.float() / 16
# What chooses rates and d is not what reports.
TRAIN, SELECT, REPORT = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).split(
    [900, 300, 597]
)
EPOCHS, RATE, FULL_LR = 8, 0.02, 1e-3


def train(job: Any) -> np.ndarray:
    """Train all weights, or job.d numbers, and return a score for each row."""
    torch.manual_seed(job.seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    if job.d is None:
        optimizer = torch.optim.Adam(model.parameters(), lr=job.rate * RATE)
        run(model, optimizer)
    else:
        space = Subspace(model, job.d, method="did", seed=job.seed)
        optimizer = torch.optim.Adam(space.parameter_groups(job.rate * FULL_LR))
        with space.training(optimizer):
            run(model, optimizer)
    rows = REPORT if job.stage == "confirm" else SELECT
    with torch.no_grad():
        return (model(x[rows]).argmax(1) == y[rows]).numpy()


def run(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Train in an ordinary loop, which knows of no subspace."""
    for _ in range(EPOCHS):
        for rows in TRAIN[torch.randperm(len(TRAIN))].split(32):
            optimizer.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()


if __name__ == "__main__":
    budget = int(sys.argv[1]) if sys.argv[1:] else 120
    print(measure(train, low=10, high=2_000, trivial=0.1, budget=budget))
