"""Every engine of this machine, with 1 and 2 threads, gives the P of the torch reference."""

import torch

from said_lightning.projections import build, engines_of
from said_lightning.tools.bench.claims import Claim, assert_all

SIZES = {"weight": 200_000, "bias": 384}

differ = 0
for d in (16, 100, 1000, 5000, 40_000, 70_000):
    reference = build("fastfood", SIZES, d, 0, "torch")
    theta = torch.randn(d, generator=torch.Generator().manual_seed(0))
    for engine in engines_of("fastfood"):
        device = "cuda" if engine == "triton" else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            continue
        other = build("fastfood", SIZES, d, 0, engine)
        differ += other.fingerprint() != reference.fingerprint()
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for tensor in SIZES:
                got = other.project(theta.to(device), tensor).cpu()
                differ += not torch.equal(got, reference.project(theta, tensor))
assert_all([Claim("projections or fingerprints that differ", differ, most=0)])
