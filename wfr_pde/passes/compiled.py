"""Passes over arrays as compiled loops: fused, so that memory is read once, and free of Python's lock, for threads.

Arrays are flat; a piece is `rows` runs of `width` values, `stride` apart, from `start` on. The exponential and the
logarithm are written out, as compilers vectorise only what they see: both are within one unit in the last place
(`tests/test_passes.py`), by the reductions and the series of Muller, Elementary Functions (2016), chapters 4 and 11.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from wfr_pde.passes import Passes, Piece

WRITTEN, READ = types.Array(types.float64, 1, "C"), types.Array(types.float64, 1, "C", readonly=True)
PIECE = (types.int64,) * 4


def jit(result: Any, *arguments: Any) -> Any:
    """Compile a pass for the types of its arguments and a piece."""
    signature = result(*arguments, *PIECE)
    return numba.njit(signature, cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


inlined = numba.njit(inline="always", error_model="numpy", fastmath={"contract"})
BLOCK = 1024  # values, that stay in the first cache between two loops
LOG2_E = 1 / math.log(2)
LN2_HIGH = round(math.log(2) * 2**33) / 2**33  # a short number: its products with integers are exact
LN2_LOW = float(decimal.Context(prec=40).ln(decimal.Decimal(2)) - decimal.Decimal(LN2_HIGH))
TO_INTEGER = 1.5 * 2.0**52  # added to a small number, it rounds that to an integer, in the last bits
SMALLEST = -700.0  # exponents below are taken for this one: e^-700 is lost in any sum with 1, and not subnormal
EXP_SERIES = tuple(1 / math.factorial(k) for k in range(14))
ATANH_SERIES = tuple(2 / (2 * k + 1) for k in range(12))
untyped: Any = intrinsic  # with the context as first argument, which calls do not have


@untyped
def _float(context, bits):  # type: ignore
    """The number with the given bits."""
    return types.float64(types.int64), lambda _, builder, signature, arguments: builder.bitcast(
        arguments[0], ir.DoubleType()
    )


@untyped
def _bits(context, number):  # type: ignore
    """The bits of a number."""
    return types.int64(types.float64), lambda _, builder, signature, arguments: builder.bitcast(
        arguments[0], ir.IntType(64)
    )


@inlined
def _exp(x):  # type: ignore
    """e^x for x in [-700, 700]."""
    x = SMALLEST if x < SMALLEST else x  # (not a number stays so)
    shifted = x * LOG2_E + TO_INTEGER
    k = shifted - TO_INTEGER
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    series = EXP_SERIES[13]
    series = series * r + EXP_SERIES[12]
    series = series * r + EXP_SERIES[11]
    series = series * r + EXP_SERIES[10]
    series = series * r + EXP_SERIES[9]
    series = series * r + EXP_SERIES[8]
    series = series * r + EXP_SERIES[7]
    series = series * r + EXP_SERIES[6]
    series = series * r + EXP_SERIES[5]
    series = series * r + EXP_SERIES[4]
    series = series * r + EXP_SERIES[3]
    series = series * r + EXP_SERIES[2]
    return (series * (r * r) + r + 1.0) * _float((_bits(shifted) << 52) + 0x3FF0000000000000)


@inlined
def _log(x):  # type: ignore
    """log x for a positive normal x, as k log 2 + log(1 + f) with 1 + f between sqrt(1/2) and sqrt(2)."""
    bits = _bits(x)
    exponent = (bits - 0x3FE6A09E667F3BCD) >> 52
    f = _float(bits - (exponent << 52)) - 1.0
    k = _float(exponent + 0x4338000000000000) - TO_INTEGER
    s = f / (2.0 + f)
    z = s * s
    series = ATANH_SERIES[11]
    series = series * z + ATANH_SERIES[10]
    series = series * z + ATANH_SERIES[9]
    series = series * z + ATANH_SERIES[8]
    series = series * z + ATANH_SERIES[7]
    series = series * z + ATANH_SERIES[6]
    series = series * z + ATANH_SERIES[5]
    series = series * z + ATANH_SERIES[4]
    series = series * z + ATANH_SERIES[3]
    series = series * z + ATANH_SERIES[2]
    series = series * z + ATANH_SERIES[1]
    half_square = 0.5 * f * f
    log_x = k * LN2_HIGH - ((half_square - (s * (half_square + series * z) + k * LN2_LOW)) - f)
    return log_x + 0.0 * x  # not a number stays so


@inlined
def _range(values):  # type: ignore
    """Smallest and largest of some values, by four pairs of registers."""
    low0 = low1 = low2 = low3 = high0 = high1 = high2 = high3 = values[0]
    whole = values.size // 4 * 4
    for i in range(0, whole, 4):
        low0, high0 = min(low0, values[i]), max(high0, values[i])
        low1, high1 = min(low1, values[i + 1]), max(high1, values[i + 1])
        low2, high2 = min(low2, values[i + 2]), max(high2, values[i + 2])
        low3, high3 = min(low3, values[i + 3]), max(high3, values[i + 3])
    for i in range(whole, values.size):
        low0, high0 = min(low0, values[i]), max(high0, values[i])
    return min(min(low0, low1), min(low2, low3)), max(max(high0, high1), max(high2, high3))


@inlined
def _sum(values):  # type: ignore
    """Sum of some values, by eight registers."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = values.size // 8 * 8
    for i in range(0, whole, 8):
        s0 += values[i]
        s1 += values[i + 1]
        s2 += values[i + 2]
        s3 += values[i + 3]
        s4 += values[i + 4]
        s5 += values[i + 5]
        s6 += values[i + 6]
        s7 += values[i + 7]
    for i in range(whole, values.size):
        s0 += values[i]
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@jit(types.UniTuple(types.float64, 2), types.float64, READ, READ, WRITTEN)
def _add(scale, x, y, out, start, rows, stride, width):  # type: ignore
    """out = scale x + y, and its smallest and largest value."""
    low, high = np.inf, -np.inf
    for row in range(rows):
        first = start + row * stride
        for begin in range(first, first + width, BLOCK):
            end = min(begin + BLOCK, first + width)
            a, b, result = x[begin:end], y[begin:end], out[begin:end]
            for i in range(result.size):
                result[i] = scale * a[i] + b[i]
            block_low, block_high = _range(result)
            low, high = min(low, block_low), max(high, block_high)
    return low, high


@jit(types.void, READ, types.float64, WRITTEN)
def _exp_of(x, shift, out, start, rows, stride, width):  # type: ignore
    """out = exp(x - shift), without gaps."""
    for row in range(rows):
        first = start + row * stride
        values, result = x[first : first + width], out[row * width : (row + 1) * width]
        for i in range(result.size):
            result[i] = _exp(values[i] - shift)


@jit(types.void, READ, *(types.float64,) * 3, READ, types.float64, READ, WRITTEN)
def _log_of(product, shift, sign, a, x, b, y, out, start, rows, stride, width):  # type: ignore
    """out = sign (log product + shift) + a x + b y; the product is without gaps."""
    for row in range(rows):
        first = start + row * stride
        values, result = product[row * width : (row + 1) * width], out[first : first + width]
        xs, ys = x[first : first + width], y[first : first + width]
        for i in range(result.size):
            result[i] = sign * (_log(values[i]) + shift) + a * xs[i] + b * ys[i]


@jit(types.UniTuple(types.float64, 2), READ, READ, types.float64, WRITTEN)
def _mix(x, y, s, out, start, rows, stride, width):  # type: ignore
    """out = (x - y) s + y, its largest value, and the sum of exp(out - that); the same to the last bit where x = y."""
    top, total = -np.inf, 0.0
    scratch = np.empty(BLOCK)
    for row in range(rows):
        first = start + row * stride
        for begin in range(first, first + width, BLOCK):
            end = min(begin + BLOCK, first + width)
            a, b, result, relative = x[begin:end], y[begin:end], out[begin:end], scratch[: end - begin]
            for i in range(result.size):
                result[i] = (a[i] - b[i]) * s + b[i]
            _, block_top = _range(result)
            if block_top > top:
                total *= math.exp(top - block_top)
                top = block_top
            for i in range(relative.size):
                relative[i] = _exp(result[i] - top)
            total += _sum(relative)
    return top, total


def _flat(array: np.ndarray) -> np.ndarray:
    return np.reshape(array, -1)


class CompiledPasses(Passes):
    """The same passes, compiled, where they can be."""

    def __init__(self) -> None:
        super().__init__(np)

    def empty(self, like: np.ndarray) -> np.ndarray:
        """An array to write to, in the order that pieces are in."""
        return np.empty(like.shape)

    def add(self, piece: Piece, scale: float, x: Any, y: Any, out: Any) -> tuple[Any, Any]:
        """In one pass."""
        return _add(scale, _flat(x), _flat(y), _flat(out), piece.start, piece.rows, piece.stride, piece.width)

    def exp(self, piece: Piece, x: Any, shift: float) -> Any:
        """In one pass."""
        out = np.empty(x[piece.index].shape)
        _exp_of(_flat(x), shift, _flat(out), piece.start, piece.rows, piece.stride, piece.width)
        return out

    def log(
        self, piece: Piece, product: Any, shift: float, sign: float, terms: Sequence[tuple[float, Any]], out: Any
    ) -> None:
        """In one pass, if there are two terms."""
        if len(terms) != 2:
            super().log(piece, product, shift, sign, terms, out)
            return
        (a, x), (b, y) = terms
        numbers = piece.start, piece.rows, piece.stride, piece.width
        _log_of(_flat(product), shift, sign, a, _flat(x), b, _flat(y), _flat(out), *numbers)

    def mix(self, piece: Piece, x: Any, y: Any, s: float, volume: Any, out: Any) -> tuple[Any, Any]:
        """In one pass, where all cells are equal."""
        if not isinstance(volume, float):
            return super().mix(piece, x, y, s, volume, out)
        numbers = piece.start, piece.rows, piece.stride, piece.width
        top, total = _mix(_flat(x), _flat(y), s, _flat(out), *numbers)
        return np.float64(top), np.float64(total * volume)
