"""SAID needs less memory than full AdamW: MiniLM, in units of 4 D bytes (D float32 numbers)."""

from said_lightning.tools.bench.claims import Claim, assert_all
from said_lightning.tools.bench.measure import peak_bytes, state_bytes
from said_lightning.tools.bench.models import minilm

UNIT = 4 * sum(weight.numel() for weight in minilm().parameters())
LEAST = {
    (32, 128): {"said, no copy": 1.9, "said": 0.9},
    (2, 32): {"said, no copy": 2.4, "said": 1.4},
}

claims = []
for shape, bounds in LEAST.items():
    full = peak_bytes("full", "minilm", 1000, shape)
    for name, least in bounds.items():
        saved = (full - peak_bytes(name, "minilm", 1000, shape)) / UNIT
        claims.append(Claim(f"saved by {name} at {shape[0]} x {shape[1]}", saved, least=least))
small, large = (state_bytes(model, 10_000) for model in ("bert-tiny", "minilm"))
claims += [
    Claim("bytes kept by SAID without a copy at d = 10,000", large, most=1e6),
    Claim("the same for a smaller model / that", small / large, least=0.99, most=1.01),
]
assert_all(claims)
