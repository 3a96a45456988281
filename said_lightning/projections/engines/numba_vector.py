"""Vectors for the numba engines: LLVM vector instructions behind Python's operators.

numba leaves most of the inner loops here scalar: butterflies whose partners lie in one vector,
gathers, 16-bit arithmetic, 32x32-bit products. So they are written as tiles: functions that run
while a kernel is compiled and leave instructions in it. A vector may be longer than the
processor's: LLVM splits it into several whose instructions alternate, which hides their latency.
"""

import hashlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, no_type_check

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

# What a kernel on disk was compiled from: numba itself looks only at the kernel's own file, so a
# change in what it calls would leave the old P in the cache.
_SOURCES = hashlib.blake2b(
    b"".join(path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py"))),
    digest_size=4,
).hexdigest()

# Without these LLVM halves 512-bit vectors.
_WIDE = ('"min-legal-vector-width"="512"', '"prefer-vector-width"="512"')


class Vector:
    """A vector in registers; the other operand may be a vector, a scalar or a constant."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value
        self.element = value.type.element
        self.lanes: int = value.type.count

    def __add__(self, other: Any) -> "Vector":
        return self._apply("fadd" if self._floating else "add", other)

    def __sub__(self, other: Any) -> "Vector":
        return self._apply("fsub" if self._floating else "sub", other)

    def __mul__(self, other: Any) -> "Vector":
        return self._apply("fmul" if self._floating else "mul", other)

    def __and__(self, other: Any) -> "Vector":
        return self._apply("and_", other)

    def __or__(self, other: Any) -> "Vector":
        return self._apply("or_", other)

    def __xor__(self, other: Any) -> "Vector":
        return self._apply("xor", other)

    def __lshift__(self, other: Any) -> "Vector":
        return self._apply("shl", other)

    def __rshift__(self, other: Any) -> "Vector":
        return self._apply("lshr", other)

    def plus_signed(self, other: "Vector", minus: Sequence[bool]) -> "Vector":
        """Add another floating vector, or subtract it in the lanes that `minus` marks."""
        # A product by 1 or -1 is exact, so fused with the sum or not this rounds like a plain one.
        signs = ir.Constant(self.value.type, [-1.0 if lane else 1.0 for lane in minus])
        product = self.builder.fmul(other.value, signs, flags=["contract"])
        return Vector(self.builder, self.builder.fadd(self.value, product, flags=["contract"]))

    def flipped(self, halves: "Vector", bit: int) -> "Vector":
        """Change the sign of floating numbers where a bit of the 16-bit numbers is set."""
        bits = _bits(self.element)
        sign = (halves.converted(ir.IntType(bits)) << (bits - 1 - bit)) & (1 << (bits - 1))
        return (self.cast(ir.IntType(bits)) ^ sign).cast(self.element)

    def converted(self, element: Any) -> "Vector":
        """Widen unsigned integers or floating numbers, or leave them as they are."""
        if self.element == element:
            return self
        widen = self.builder.fpext if self._floating else self.builder.zext
        return Vector(self.builder, widen(self.value, ir.VectorType(element, self.lanes)))

    def cast(self, element: Any) -> "Vector":
        """Read the same bits as lanes of another type."""
        lanes = self.lanes * _bits(self.element) // _bits(element)
        return Vector(self.builder, self.builder.bitcast(self.value, ir.VectorType(element, lanes)))

    def shuffled(self, lanes: Sequence[int], other: "Vector | None" = None) -> "Vector":
        """Pick lanes of this vector, and of the other where they count on."""
        index = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
        second = self.value if other is None else other.value
        return Vector(self.builder, self.builder.shuffle_vector(self.value, second, index))

    @property
    def _floating(self) -> bool:
        return not isinstance(self.element, ir.IntType)

    def _apply(self, instruction: str, other: Any) -> "Vector":
        if isinstance(other, Vector):
            operand = other.value
        elif isinstance(other, ir.Constant | ir.Value):
            operand = spread(self.builder, other, self.lanes).value
        else:
            operand = ir.Constant(self.value.type, [other] * self.lanes)
        return Vector(self.builder, getattr(self.builder, instruction)(self.value, operand))


class Memory:
    """A contiguous one-dimensional numpy array, read and written a vector at a time."""

    def __init__(self, builder: Any, data: Any, element: Any) -> None:
        self.builder = builder
        self.data = data
        self.element = element

    def load(self, offset: Any, lanes: int) -> Vector:
        """Read the numbers from `offset` on."""
        pointer = self._pointer(offset, ir.VectorType(self.element, lanes))
        return Vector(self.builder, self.builder.load(pointer, align=_bits(self.element) // 8))

    def any_bits(self, offset: Any, count: int, lanes: int) -> Vector:
        """Read numbers as integers and OR every `lanes`-th of them."""
        integer = ir.IntType(_bits(self.element))
        found = None
        for first in range(0, count, lanes):
            place = self.builder.add(offset, ir.Constant(offset.type, first))
            part = self.load(place, lanes).cast(integer)
            found = part if found is None else found | part
        assert found is not None
        return found

    def store(self, offset: Any, vector: Vector) -> None:
        """Write a vector's bits to where the number `offset` is."""
        pointer = self._pointer(offset, vector.value.type)
        self.builder.store(vector.value, pointer, align=_bits(self.element) // 8)

    def at(self, offset: Any, element: Any) -> Any:
        """Read one floating number as a scalar of the given type."""
        value = self.builder.load(self.builder.gep(self.data, [offset]))
        return value if self.element == element else self.builder.fpext(value, element)

    def gather(self, index: Vector) -> Vector:
        """Read the numbers at indices of 16 or 32 bits.

        One load for each: a gather instruction takes longer on most processors.
        """
        word = ir.IntType(64)
        several = 64 // _bits(index.element)
        words = index.cast(word)
        found: Any = ir.Constant(ir.VectorType(self.element, index.lanes), ir.Undefined)
        for lane in range(index.lanes):
            place, part = ir.Constant(ir.IntType(32), lane // several), lane % several
            at = self.builder.extract_element(words.value, place)
            if part:
                at = self.builder.lshr(at, ir.Constant(word, part * _bits(index.element)))
            if part < several - 1:
                at = self.builder.and_(at, ir.Constant(word, (1 << _bits(index.element)) - 1))
            number = self.builder.load(self.builder.gep(self.data, [at]))
            found = self.builder.insert_element(found, number, ir.Constant(ir.IntType(32), lane))
        return Vector(self.builder, found)

    def _pointer(self, offset: Any, kind: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(self.data, [offset]), kind.as_pointer())


def constants(builder: Any, element: Any, values: Sequence[int]) -> Vector:
    """Return a vector of the integers `values`."""
    return Vector(builder, ir.Constant(ir.VectorType(element, len(values)), list(values)))


def spread(builder: Any, scalar: Any, lanes: int) -> Vector:
    """Put a scalar in every lane."""
    kind = ir.VectorType(scalar.type, lanes)
    first = ir.Constant(ir.IntType(32), 0)
    single = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, first)
    return Vector(builder, single).shuffled([0] * lanes)


def tile(body: Callable[..., None]) -> Any:
    """Make a function that emits instructions one that kernels call.

    It gets the builder, then what it is called with: arrays as Memory, tuples as lists of LLVM
    values, numbers as LLVM values.
    """

    def typing(context: Any, *arguments: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            for attribute in _WIDE:  # past llvmlite's list of the attributes that it knows
                set.add(builder.function.attributes, attribute)
            pairs = zip(signature.args, values, strict=True)
            body(builder, *(_argument(context, builder, *pair) for pair in pairs))
            return context.get_dummy_value()

        return types.void(*arguments), generate

    typing.__name__ = typing.__qualname__ = body.__name__
    typing.__signature__ = inspect.signature(body)  # type: ignore[attr-defined]
    return intrinsic(typing)


@intrinsic
@no_type_check
def _pointer(context, address):
    def generate(context, builder, signature, values):
        return builder.inttoptr(values[0], context.get_value_type(types.voidptr))

    return types.voidptr(address), generate


@njit
@no_type_check
def array_at(address, length, like):
    """Return the contiguous array at an address, of the dtype of another."""
    return carray(_pointer(address), (length,), like.dtype)


def kernel(function: Any) -> Callable[..., None]:
    """Compile `function(tasks, ...)`, a prange over its tasks, and keep it on disk.

    One task runs in the caller's thread: to wake others takes longer than a small tensor. What is
    on disk serves until a source file here changes.
    """
    alone, together = (
        njit(cache=True, parallel=parallel)(_renamed(function, f"{_SOURCES}_{parallel}"))
        for parallel in (False, True)
    )

    def run(tasks: int, *arguments: Any) -> None:
        (alone if tasks == 1 else together)(tasks, *arguments)

    return run


def _renamed(function: Any, suffix: str) -> Any:
    """Copy a function under the name that names its file in numba's cache."""
    copy = FunctionType(function.__code__, function.__globals__, function.__name__)
    copy.__module__, copy.__qualname__ = function.__module__, f"{function.__qualname__}_{suffix}"
    return copy


def _argument(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        data = context.make_array(kind)(context, builder, value).data
        return Memory(builder, data, context.get_data_type(kind.dtype))
    if isinstance(kind, types.UniTuple):
        return [builder.extract_value(value, index) for index in range(kind.count)]
    return value


def _bits(element: Any) -> int:
    return {ir.FloatType: 32, ir.DoubleType: 64}.get(type(element)) or int(element.width)
