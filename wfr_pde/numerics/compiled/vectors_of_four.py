"""Four numbers at a time for compiled loops: one vector of a processor, whatever numba makes of other loops.

Numba makes vectors of long loops only. In recurrences along a line, where four numbers do the same beside each other,
each step is too short for that. Values are tuples of four; packed for an operation and unpacked behind it, which the
compiler leaves out where one operation follows another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

WIDTH = 4
FOUR = types.UniTuple(types.float64, WIDTH)
VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)
CONTRACT = ("contract",)  # products and sums may be one operation, as in all loops of this folder


def _packed(builder: Any, four: Any) -> Any:
    """Make a vector of a tuple."""
    vector = ir.Constant(VECTOR, ir.Undefined)
    for k in range(WIDTH):
        place = ir.Constant(ir.IntType(32), k)
        vector = builder.insert_element(vector, builder.extract_value(four, k), place)
    return vector


def _unpacked(builder: Any, vector: Any) -> Any:
    """Make a tuple of a vector."""
    four = ir.Constant(ir.ArrayType(ir.DoubleType(), WIDTH), ir.Undefined)
    for k in range(WIDTH):
        place = ir.Constant(ir.IntType(32), k)
        four = builder.insert_value(four, builder.extract_element(vector, place), k)
    return four


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Return where four entries of a flat array begin."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), VECTOR.as_pointer())


def _load(_: Any, array: Any, index: Any) -> Any:
    """Read four entries of a flat array from an index on."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], *arguments)
        return _unpacked(builder, builder.load(address, align=8))

    return FOUR(array, types.intp), make


def _store(_: Any, array: Any, index: Any, four: Any) -> Any:
    """Write four entries of a flat array from an index on."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], *arguments[:2])
        builder.store(_packed(builder, arguments[2]), address, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, FOUR), make


def _of_two(name: str) -> Callable[..., Any]:
    """Make an operation on two tuples, entry by entry, by the name of the instruction."""

    def operation(_: Any, one: Any, other: Any) -> Any:
        def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vectors = [_packed(builder, four) for four in arguments]
            return _unpacked(builder, getattr(builder, name)(*vectors, flags=CONTRACT))

        return FOUR(FOUR, FOUR), make

    return intrinsic(operation)


# for compiled functions only
load: Callable[..., Any] = intrinsic(_load)
store: Callable[..., Any] = intrinsic(_store)
plus, minus, times, over = (_of_two(name) for name in ("fadd", "fsub", "fmul", "fdiv"))
