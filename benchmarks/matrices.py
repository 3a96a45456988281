"""A step with P between two factors is cheaper than a full one, at LoRA's price and memory."""

from said_lightning.tools.bench.claims import Claim, assert_all
from said_lightning.tools.bench.measure import peak_bytes, ratio, step_times

SHAPE, ROUNDS = (32, 128), 12
KRONECKER, LORA = "said kronecker", "lora r=8, all"

small = step_times(["full", KRONECKER, LORA], "minilm", 1000, [SHAPE], ROUNDS)
large = step_times(["full", KRONECKER], "minilm", 10_000, [SHAPE], ROUNDS)
base = step_times(["full", KRONECKER], "bert-base", 1000, [SHAPE], 4)
peaks = [peak_bytes(name, "minilm", 1000, SHAPE) for name in (KRONECKER, LORA)]
assert_all(
    [
        Claim("MiniLM, d = 1,000: step / full AdamW step", ratio(small, KRONECKER, "full"), 0.83),
        Claim("MiniLM, d = 1,000: step / LoRA r=8 on all", ratio(small, KRONECKER, LORA), 0.87),
        Claim("MiniLM, d = 1,000: peak memory / LoRA r=8 on all", peaks[0] / peaks[1], 1.0),
        Claim("MiniLM, d = 10,000: step / full AdamW step", ratio(large, KRONECKER, "full"), 1.0),
        Claim("BERT-base, d = 1,000: step / full AdamW step", ratio(base, KRONECKER, "full"), 0.78),
    ]
)
