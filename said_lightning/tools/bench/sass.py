"""What a Triton kernel costs on a GPU, counted on any machine.

Triton's wheel carries the assembler and disassembler for NVIDIA's GPUs, so a kernel can be compiled
for one that is not there, and its machine code counted.
"""

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

DIVISIBLE = [["tt.divisibility", 16]]


class Cost(NamedTuple):
    """What a program of a kernel costs; the body of a loop counts once.

    instructions: of each thread. spilled: bytes of registers that a thread puts into memory. wide,
    narrow: accesses to global memory of 128 bits and of fewer, by kind (LDG loads, STG stores).
    """

    instructions: int
    registers: int
    spilled: int
    wide: Counter[str]
    narrow: Counter[str]


def cost(kernel: Any, constants: Mapping[str, Any], types: Mapping[str, str], warps: int) -> Cost:
    """Compile a kernel for an H100, its pointers and integers being multiples of 16, and count.

    `types` are those of its arguments as Triton writes them, "*fp32" say.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    source = ASTSource(
        kernel,
        {name: types.get(name, "constexpr") for name in names},
        {(names.index(name),): value for name, value in constants.items()},
        {(names.index(name),): DIVISIBLE for name in types},
    )
    options = {"num_warps": warps, "enable_fp_fusion": False}
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage = _run("cuobjdump", "-res-usage", file.name)
        code = _run("nvdisasm", "-c", file.name)
    kinds = re.findall(r"/\*[0-9a-f]{4,}\*/ +(?:@!?U?P\w+ +)?([A-Z][\w.]+)", code)
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", usage)
    assert found is not None
    registers, stack, local = map(int, found.groups())
    access = [kind for kind in kinds if kind.startswith(("LDG", "STG"))]
    return Cost(
        sum(not kind.startswith("NOP") for kind in kinds),
        registers,
        stack + local,
        Counter(kind[:3] for kind in access if ".128" in kind),
        Counter(kind[:3] for kind in access if ".128" not in kind),
    )


# The types of fastfood's arguments where weights, gradients and theta are float32.
_POINTERS = {"table": "*i64", "owners": "*i32", "addresses": "*i64", "magnitudes": "*fp32"}
_WRITE = _POINTERS | {"x": "*fp32", "scale": "*fp32", "bank": "*i16"}
_PULL_BACK = _POINTERS | {"spans": "*i64", "sums": "*fp32", "inverse_bank": "*i16"}


def fastfood_cost(name: str, n: int) -> tuple[Cost, float]:
    """Return the cost of fastfood's kernel `name` for blocks of n, and instructions a number."""
    import triton.language as tl

    from said_lightning.projections.engines import fastfood_triton, triton_fastfood

    tile = max(n, fastfood_triton.TILE)
    warps = fastfood_triton.warps_of(tile)
    constants: dict[str, Any] = {"TILE": tile, "BITS": n.bit_length() - 1}
    constants |= {"FLIP": True, "ALIGNED": True}
    if name == "write":
        constants |= {"OUT": tl.float32, "BASE": tl.float32}
        found = cost(triton_fastfood.write, constants, _WRITE, warps)
    else:
        found = cost(triton_fastfood.pull_back, constants | {"GRAD": tl.float32}, _PULL_BACK, warps)
    return found, found.instructions * warps * 32 / tile


def _run(tool: str, *arguments: str) -> str:
    import triton

    folder = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    command = [str(folder / tool), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
