"""The fast Walsh-Hadamard transform in vector registers, for the numba engines."""

from typing import Any, no_type_check

from numba import njit

from said_lightning.projections.engines.numba_vector import Memory, Vector, tile

LANES = 16
NEAR = 4096  # numbers transformed while they stay in the first cache


def _tile(vectors: int, inside: bool) -> Any:
    """Make `tile(x, offset, stride)`: butterflies among `vectors` vectors `stride` apart.

    With `inside` the four stages within each vector come first.
    """

    def butterflies(builder: Any, x: Memory, offset: Any, stride: Any) -> None:
        places = [offset]
        while len(places) < vectors:
            places.append(builder.add(places[-1], stride))
        values = [x.load(place, LANES) for place in places]
        if inside:
            values = [_lane_stages(value) for value in values]
        stage = 1
        while stage < vectors:
            for low in (index for index in range(vectors) if not index & stage):
                a, b = values[low], values[low | stage]
                values[low], values[low | stage] = a + b, a - b
            stage *= 2
        for value, place in zip(values, places, strict=True):
            x.store(place, value)

    return tile(butterflies)


def _lane_stages(value: Vector) -> Vector:
    """Emit the butterflies of stride 1, 2, 4 and 8 within a vector."""
    for stage in (1, 2, 4, 8):
        partner = value.shuffled([lane ^ stage for lane in range(LANES)])
        value = partner.plus_signed(value, [bool(lane & stage) for lane in range(LANES)])
    return value


_first_1, _first_2, _first_4, _first_8, _first_16 = (_tile(v, True) for v in (1, 2, 4, 8, 16))
_next_2, _next_4, _next_8, _next_16 = (_tile(v, False) for v in (2, 4, 8, 16))


@njit
@no_type_check
def hadamard(x, n):
    """Transform x[:n] in place, n = 2^k >= 16, adding in the reference's order."""
    if n == 16:
        _first_1(x, 0, LANES)
    elif n == 32:
        _first_2(x, 0, LANES)
    elif n == 64:
        _first_4(x, 0, LANES)
    elif n == 128:
        _first_8(x, 0, LANES)
    else:
        near = min(n, NEAR if n <= 16 * NEAR else 2 * NEAR)  # one pass does the rest up to 2^17
        for part in range(0, n, near):
            for start in range(part, part + near, 16 * LANES):
                _first_16(x, start, LANES)
            _stages(x, part, 16 * LANES, near)
        _stages(x, 0, near, n)


@njit
@no_type_check
def _stages(x, start, stride, n):
    """Run the stages of n numbers from `stride` on, up to four in one pass."""
    while stride < n:
        left = n // stride
        factor = 8 if left in (32, 64) else min(16, left)  # two like passes, not 16 and 2 or 4
        for block in range(start, start + n, stride * factor):
            for offset in range(block, block + stride, LANES):
                if factor == 16:
                    _next_16(x, offset, stride)
                elif factor == 8:
                    _next_8(x, offset, stride)
                elif factor == 4:
                    _next_4(x, offset, stride)
                else:
                    _next_2(x, offset, stride)
        stride *= factor
