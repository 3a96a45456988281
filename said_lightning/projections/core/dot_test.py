"""The dot test: are `project` and `pull_back` exact transposes of each other?"""

import torch

from said_lightning.projections.core.projection import Projection


def dot_test(projection: Projection, dtype: torch.dtype = torch.float64, seed: int = 0) -> float:
    """Compare <P u, v> with <u, P^T v> for random normal u (d) and v (D), over all tensors.

    Returns |<P u, v> - <u, P^T v>| / (|P u| |v|), which is at most a few units of the dtype's
    rounding for a right adjoint, whatever the angle between the vectors.
    """
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(projection.d, generator=generator, dtype=dtype)
    left, right, forward, backward = 0.0, 0.0, 0.0, 0.0
    for tensor, size in projection.sizes.items():
        v = torch.randn(size, generator=generator, dtype=dtype)
        delta = projection.project(u, tensor)
        left += torch.dot(delta.double(), v.double()).item()
        right += torch.dot(u.double(), projection.pull_back(v, tensor).double()).item()
        forward += delta.double().square().sum().item()
        backward += v.double().square().sum().item()
    return abs(left - right) / (forward * backward) ** 0.5
