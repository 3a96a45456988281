"""The projection's time hardly grows with d: all of MiniLM's weights, d = 100 and 100,000."""

from statistics import median

from said_lightning.tools.bench.claims import Claim, assert_all
from said_lightning.tools.bench.measure import projection_times

FEW, MANY = 100, 100_000

times = {name: median(taken) for name, taken in projection_times("minilm", [FEW, MANY], 15).items()}
few, many = (times[f"project {d}"] + times[f"pull back {d}"] for d in (FEW, MANY))
assert_all([Claim(f"project + pull_back, d = {MANY:,} / d = {FEW}", many / few, most=2.0)])
