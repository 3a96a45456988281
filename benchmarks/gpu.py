"""On a GPU: RoBERTa-large's shapes, batch 32 x 128, bf16-mixed, against fused AdamW and a copy."""

import sys
from statistics import median

import torch

from said_lightning.tools.bench.claims import Claim, assert_all
from said_lightning.tools.bench.measure import projection_times, ratio, step_times

if not torch.cuda.is_available():
    print("unmeasured: there is no GPU")
    sys.exit()

with torch.autocast("cuda", torch.bfloat16):
    steps = step_times(["full, fused", "said"], "roberta-large", 1000, (32, 128), rounds=20)
alone = {
    name: median(taken)
    for name, taken in projection_times("roberta-large", [1000], rounds=20).items()
}
assert_all(
    [
        Claim("SAID step / full fused AdamW step", ratio(steps, "said", "full, fused"), most=1.0),
        Claim("project / copy", alone["project 1000"] / alone["copy"], most=2.0),
        Claim("pull_back / copy", alone["pull back 1000"] / alone["copy"], most=2.0),
    ]
)
