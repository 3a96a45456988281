"""What fastfood's kernels cost on an H100, counted where Triton is: no GPU is needed.

The body of a loop counts once.
"""

import json
import sys
from pathlib import Path

from said_lightning.tools.bench.claims import Claim, assert_all
from said_lightning.tools.bench.sass import fastfood_cost

MOST = {("write", 1024): 90.0, ("pull_back", 1024): 95.0}

claims, found = [], {}
for n in (1024, 16384):
    for kernel in ("write", "pull_back"):
        cost, instructions = fastfood_cost(kernel, n)
        name = f"{kernel}, n = {n:,}"
        found[name] = {
            "instructions_a_number": instructions,
            "registers": cost.registers,
            "spilled_bytes": cost.spilled,
            "accesses_of_128_bits": cost.wide,
            "narrower_accesses": cost.narrow,
        }
        if most := MOST.get((kernel, n)):
            claims.append(Claim(f"instructions a number, {name}", instructions, most=most))
        claims.append(Claim(f"bytes of registers spilled, {name}", cost.spilled, most=0))
if sys.argv[1:]:
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n")
assert_all(claims)
