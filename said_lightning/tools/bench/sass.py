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

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
H100 = GPUTarget("cuda", 90, 32)
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
    names = kernel.arg_names
    source = ASTSource(
        kernel,
        {name: types.get(name, "constexpr") for name in names},
        {(names.index(name),): value for name, value in constants.items()},
        {(names.index(name),): DIVISIBLE for name in types},
    )
    options = {"num_warps": warps, "enable_fp_fusion": False}
    compiled = triton.compile(source, target=H100, options=options)
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


def _run(tool: str, *arguments: str) -> str:
    command = [str(TOOLS / tool), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
