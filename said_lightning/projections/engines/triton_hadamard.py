"""The fast Walsh-Hadamard transform for the Triton engines."""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def hadamard(x, FIRST: tl.constexpr, LAST: tl.constexpr):
    """Run the butterflies of strides 2^FIRST to 2^(LAST - 1) on a row, in ascending order.

    With FIRST = 0 every 2^LAST numbers of the row are transformed.
    """
    for stage in tl.static_range(FIRST, LAST):
        # Only views, until a pair lies in two threads: then the compiler exchanges numbers.
        pairs = tl.reshape(x, (x.numel >> (stage + 1), 2, 1 << stage))
        even, odd = tl.split(tl.trans(pairs, (0, 2, 1)))
        pairs = tl.trans(tl.join(even + odd, even - odd), (0, 2, 1))
        x = tl.reshape(pairs, (x.numel,))
    return x
