"""A SAID step costs no more than a full one: MiniLM, batch 32 x 128, d = 1,000, in one run."""

from said_lightning.tools.bench.claims import Claim, assert_all
from said_lightning.tools.bench.measure import (
    ratio,
    step_times,
    update_times,
)

SHAPE, D = (32, 128), 1000

steps = step_times(["full", "said"], "minilm", D, [SHAPE], rounds=15)
updates = update_times(["full", "said"], "minilm", D, SHAPE, rounds=15)
assert_all(
    [
        Claim("SAID step / full AdamW step", ratio(steps, "said", "full"), most=1.01),
        Claim("project + pull_back / AdamW's step", ratio(updates, "said", "full"), most=1.0),
    ]
)
