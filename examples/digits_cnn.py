"""Train a residual net for digits in a plain loop in 300 numbers: python digits_cnn.py [EPOCHS].

Needs scikit-learn.
"""

import sys

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from said_lightning import Subspace


class Block(nn.Module):
    """Two convolutions beside a shortcut, as in a ResNet."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inner, outer, 3, stride=2, padding=1)
        self.second = nn.Conv2d(outer, outer, 3, padding=1)
        self.shortcut = nn.Conv2d(inner, outer, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.second(relu(self.first(x))) + self.shortcut(x))


def main(epochs: int) -> None:
    """Train and print the accuracy on the digits held out."""
    torch.manual_seed(0)
    x, y = map(torch.tensor, load_digits(return_X_y=True))
    x = x.float().view(-1, 1, 8, 8) / 16
    train, test = torch.randperm(len(x)).split([1400, 397])
    model = nn.Sequential(Block(1, 16), Block(16, 32), nn.Flatten(), nn.Linear(128, 10))

    space = Subspace(model, d=300, method="said", seed=0)
    optimizer = torch.optim.Adam(space.parameter_groups(full_lr=1e-3))
    with space.training(optimizer):
        for _ in range(epochs):
            for rows in train[torch.randperm(len(train))].split(64):
                cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()

    with torch.no_grad():
        accuracy = (model(x[test]).argmax(1) == y[test]).float().mean().item()
    print(f"{space.d} of {space.D:,} numbers: accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 20)
