"""A SAID step costs no more than a full one: MiniLM, batch 32 x 128, d = 1,000, in one run."""

from statistics import median

from said_lightning.tools.bench.claims import Claim, assert_all
from said_lightning.tools.bench.measure import (
    projection_times,
    public_projection_time,
    ratio,
    step_times,
    update_times,
)

SHAPE, D = (32, 128), 1000

steps = step_times(["full", "said"], "minilm", D, [SHAPE], rounds=15)
updates = update_times(["full", "said"], "minilm", D, SHAPE, rounds=15)
alone = projection_times("minilm", [D], rounds=10)
ours = median(alone[f"project {D}"]) + median(alone[f"pull back {D}"])
assert_all(
    [
        Claim("SAID step / full AdamW step", ratio(steps, "said", "full"), most=1.01),
        Claim("project + pull_back / AdamW's step", ratio(updates, "said", "full"), most=1.0),
        Claim(
            "public projection and gradient / ours",
            public_projection_time("minilm", D) / ours,
            least=200,
        ),
    ]
)
