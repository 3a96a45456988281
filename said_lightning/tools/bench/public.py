"""The formulation that circulates in public code, written anew from its formula.

Each tensor gets a Fastfood of its own full padded length N, drawn once and stored, and autograd
runs through it: 16 bytes of state for every padded number (20 where signs are kept as int64, as in
public code), and 4 log2 N passes over N numbers a step.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call


def hadamard(x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Multiply by the unnormalised Hadamard matrix, a stage at a time."""
    n, stride = len(x), 1
    while stride < n:
        even, odd = x.view(-1, 2, stride).unbind(1)
        x = torch.stack((even + odd, even - odd), dim=1).reshape(n)
        stride *= 2
    return x


class _Hadamard(torch.autograd.Function):
    """Keeps nothing for the way back, which is the same transform."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return hadamard(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return hadamard(grads[0])


class PublicSubspace(nn.Module):
    """theta (d numbers) and each weight as theta_0 + (H G Pi H B theta)_i / sqrt(N_i |G|^2)."""

    def __init__(self, model: nn.Module, d: int) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        self.theta = nn.Parameter(torch.zeros(d))
        self.states = {name: _draw(weight.numel(), d) for name, weight in model.named_parameters()}

    def forward(self, **batch: Tensor) -> Any:
        """Run the model on the weights of the present theta."""
        return functional_call(self.model, self.weights(), kwargs=batch)

    def weights(self) -> dict[str, Tensor]:
        """Compute the weights of the present theta, each with its autograd graph."""
        return {
            name: weight + _project(self.theta, self.states[name], weight.shape)
            for name, weight in self.model.named_parameters()
        }


State = tuple[Tensor, Tensor, Tensor, float]


def _draw(numel: int, d: int) -> State:
    n = 1 << (max(numel, d) - 1).bit_length()
    normals = torch.randn(n)
    signs = torch.randint(0, 2, (n,)).float() * 2 - 1
    return signs, torch.randperm(n), normals, float((n * normals.square().sum()).sqrt())


def _project(theta: Float[Tensor, " d"], state: State, shape: torch.Size) -> Tensor:
    signs, order, normals, norm = state
    padded = torch.nn.functional.pad(theta, (0, len(signs) - len(theta)))
    mixed: Tensor = _Hadamard.apply(padded * signs)
    mixed = _Hadamard.apply(mixed[order] * normals)
    return mixed[: shape.numel()].view(shape) / norm
