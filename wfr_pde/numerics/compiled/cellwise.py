"""Operations cell by cell as compiled loops, fused, so that memory is read once, and without Python's lock.

Arrays are flat; a chunk is `rows` runs of `width` values, `stride` apart, from `start` on. The exponential and the
logarithm are written out, as compilers vectorise only what they see: both are within one unit in the last place
(`tests/numerics/test_cellwise.py`), by the reductions and the series of Muller, Elementary Functions (2016), chapters 4
and 11.
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
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic
from typing_extensions import override

from wfr_pde.numerics.cellwise import Cellwise, Chunk, Terms

# flat arrays that a loop writes to, and that it only reads
WRITTEN, READ = types.Array(types.float64, 1, "C"), types.Array(types.float64, 1, "C", readonly=True)
CHUNK = (types.int64,) * 4  # `Chunk.numbers`
BLOCKS = types.Array(types.int64, 2, "C", readonly=True)  # a row per block of a band, see `_product`
DGEMM = get_cython_function_address("scipy.linalg.cython_blas", "dgemm")  # of the BLAS that SciPy brings along


def jit(result: Any, *arguments: Any) -> Any:
    """Compile a function for the types of its arguments."""
    return numba.njit(result(*arguments), cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


inlined = numba.njit(inline="always", error_model="numpy", fastmath={"contract"})
LINES, SMALL = 256, 4096  # lines at a time that BLAS gets where a block has so few entries: it has fast code for these
BLOCK = 1024  # values, that stay in the first cache between two loops
LOG2_E = 1 / math.log(2)  # powers of two in e
LN2_HIGH = round(math.log(2) * 2**33) / 2**33  # a short number: its products with integers are exact
LN2_LOW = float(decimal.Context(prec=40).ln(decimal.Decimal(2)) - decimal.Decimal(LN2_HIGH))  # the rest of log 2
TO_INTEGER = 1.5 * 2.0**52  # added to a small number, it rounds that to an integer, in the last bits
SMALLEST = -700.0  # exponents below are taken for this one: e^-700 is lost in any sum with 1, and not subnormal
LOWEST, HIGHEST = -0x8000000000000000, 0x7FFFFFFFFFFFFFFF  # 64-bit integers
# for |r| up to log(2)/2, and z up to 0.03; the first terms that are left out are 4e-18 and 3e-20
EXP_SERIES = tuple(1 / math.factorial(k) for k in range(14))
ATANH_SERIES = tuple(2 / (2 * k + 1) for k in range(12))
untyped: Any = intrinsic  # with the context as first argument, which calls do not have


@untyped
def _float(context, bits):  # type: ignore
    """Return the number with the given bits."""
    return types.float64(types.int64), lambda _, builder, signature, arguments: builder.bitcast(
        arguments[0], ir.DoubleType()
    )


@untyped
def _bits(context, number):  # type: ignore
    """Return the bits of a number."""
    return types.int64(types.float64), lambda _, builder, signature, arguments: builder.bitcast(
        arguments[0], ir.IntType(64)
    )


@untyped
def _widest(context):  # type: ignore
    """Let the function that calls it use the widest registers there are: by default compilers use half of 512 bits."""

    def code(_, builder, signature, arguments):  # type: ignore
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')  # a set that knows but some attributes
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(), code


@untyped
def _dgemm(context, routine, m, n, k, a, lda, b, ldb, beta, c, ldc):  # type: ignore
    """Compute C ← A B + beta C by a BLAS routine at an address, for column-major matrices at addresses."""
    integer, real = types.int64, types.float64
    flag, i32, f64 = ir.IntType(8), ir.IntType(32), ir.DoubleType()

    def code(context, builder, signature, arguments):  # type: ignore
        routine, m, n, k, a, lda, b, ldb, beta, c, ldc = arguments

        def reference(value):  # type: ignore
            return cgutils.alloca_once_value(builder, value)

        def whole(value):  # type: ignore
            return reference(builder.trunc(value, i32))

        def matrix(address):  # type: ignore
            return builder.inttoptr(address, f64.as_pointer())

        as_it_is, one = reference(ir.Constant(flag, ord("N"))), reference(ir.Constant(f64, 1.0))
        values = [
            *(as_it_is, as_it_is, whole(m), whole(n), whole(k), one),
            *(matrix(a), whole(lda), matrix(b), whole(ldb), reference(beta), matrix(c), whole(ldc)),
        ]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(routine, kind.as_pointer()), values)
        return ir.Constant(ir.IntType(64), 0)

    return integer(*(integer,) * 8, real, *(integer,) * 2), code


@inlined
def _exp(x):  # type: ignore
    """Compute e^x for x in [-700, 700]."""
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
    return (series * (r * r) + r + 1.0) * _float((_bits(shifted) << 52) + 0x3FF0000000000000)  # the bits of 1.0


@inlined
def _log(x):  # type: ignore
    """Compute log x for a positive normal x, as k log 2 + log(1 + f) with 1 + f between sqrt(1/2) and sqrt(2)."""
    bits = _bits(x)
    exponent = (bits - 0x3FE6A09E667F3BCD) >> 52  # the bits of sqrt(1/2)
    f = _float(bits - (exponent << 52)) - 1.0
    k = _float(exponent + 0x4338000000000000) - TO_INTEGER  # the bits of that
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
def _ordered(bits):  # type: ignore
    """Map bits of numbers to integers in the same order, and back; nan is beyond the infinite."""
    return bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)


@inlined
def _range(values, low, high):  # type: ignore
    """Return the smaller of `low` and some values, and the larger of `high` and them, as integers: see `_ends`."""
    lowest, highest = np.int64(HIGHEST), np.int64(LOWEST)
    for i in range(values.size):
        number = _ordered(_bits(values[i]))
        lowest, highest = min(lowest, number), max(highest, number)
    return min(low, lowest), max(high, highest)


@inlined
def _ends(low, high):  # type: ignore
    """Return the numbers whose ordered integers these are: integers are compared in vectors, and keep nan."""
    return _float(_ordered(low)), _float(_ordered(high))


@inlined
def _sum(values):  # type: ignore
    """Sum some values in pairs; they are overwritten."""
    n = values.size
    while n > 1:
        half = (n + 1) // 2
        for i in range(n - half):
            values[i] += values[half + i]
        n = half
    return values[0]


@jit(types.UniTuple(types.float64, 2), types.float64, READ, READ, WRITTEN, *CHUNK)
def _add(scale, x, y, out, start, rows, stride, width):  # type: ignore
    """Compute out = scale x + y, and return its smallest and largest value."""
    _widest()
    low, high = HIGHEST, LOWEST
    for row in range(rows):
        first = start + row * stride
        for begin in range(first, first + width, BLOCK):
            end = min(begin + BLOCK, first + width)
            a, b, result = x[begin:end], y[begin:end], out[begin:end]
            for i in range(result.size):
                result[i] = scale * a[i] + b[i]
            low, high = _range(result, low, high)
    return _ends(low, high)


@jit(types.UniTuple(types.float64, 2), READ, READ, types.float64, READ, WRITTEN, *CHUNK)
def _blend_add(x, y, s, z, out, start, rows, stride, width):  # type: ignore
    """Compute out = (x - y) s + y + z, and return its smallest and largest value."""
    _widest()
    low, high = HIGHEST, LOWEST
    for row in range(rows):
        first = start + row * stride
        for begin in range(first, first + width, BLOCK):
            end = min(begin + BLOCK, first + width)
            a, b, c, result = x[begin:end], y[begin:end], z[begin:end], out[begin:end]
            for i in range(result.size):
                result[i] = ((a[i] - b[i]) * s + b[i]) + c[i]
            low, high = _range(result, low, high)
    return _ends(low, high)


@jit(types.void, READ, types.float64, WRITTEN, *CHUNK)
def _exp_of(x, shift, out, start, rows, stride, width):  # type: ignore
    """Compute out = exp(x - shift), without gaps."""
    _widest()
    for row in range(rows):
        first = start + row * stride
        values, result = x[first : first + width], out[row * width : (row + 1) * width]
        for i in range(result.size):
            result[i] = _exp(values[i] - shift)


@jit(types.void, READ, *(types.float64,) * 3, READ, types.float64, READ, WRITTEN, *CHUNK)
def _log_of(product, shift, sign, a, x, b, y, out, start, rows, stride, width):  # type: ignore
    """Compute out = sign (log product + shift) + a x + b y; the product is without gaps."""
    _widest()
    for row in range(rows):
        first = start + row * stride
        values, result = product[row * width : (row + 1) * width], out[first : first + width]
        xs, ys = x[first : first + width], y[first : first + width]
        for i in range(result.size):
            result[i] = sign * (_log(values[i]) + shift) + a * xs[i] + b * ys[i]


@jit(types.UniTuple(types.float64, 2), WRITTEN, *(types.float64,) * 2)
def _log_mass(values, top, total):  # type: ignore
    """Add e^value of some values to total e^top: return the larger top, and the total over e^that; overwrites."""
    _widest()
    low, high = _range(values, HIGHEST, LOWEST)
    _, highest = _ends(low, high)
    if highest > top:
        total *= math.exp(top - highest)
        top = highest
    for i in range(values.size):
        values[i] = _exp(values[i] - top)
    return top, total + _sum(values)


@jit(types.UniTuple(types.float64, 2), READ, types.float64, READ, types.float64, READ, WRITTEN, *CHUNK)
def _log_blend(product, shift, y, s, z, out, start, rows, stride, width):  # type: ignore
    """Compute out = (log product + shift + z + y - y) s + y, and return the masses of `_log_mass`."""
    _widest()
    top, total, filled = -np.inf, 0.0, 0
    scratch = np.empty(BLOCK)
    for row in range(rows):
        first, gap = start + row * stride, start + row * (stride - width)
        for begin in range(first, first + width, BLOCK):
            end = min(begin + BLOCK, first + width)
            if filled + end - begin > BLOCK:  # rows may be short: as many as fit are added up together
                top, total = _log_mass(scratch[:filled], top, total)
                filled = 0
            a, b, c, result = product[begin - gap : end - gap], y[begin:end], z[begin:end], out[begin:end]
            copy = scratch[filled : filled + end - begin]
            for i in range(result.size):
                copy[i] = result[i] = (((_log(a[i]) + shift + c[i]) + b[i]) - b[i]) * s + b[i]
            filled += end - begin
    return _log_mass(scratch[:filled], top, total)


@jit(types.UniTuple(types.float64, 2), READ, types.float64, READ, types.float64, READ, WRITTEN, *CHUNK)
def _log_blend_add(product, shift, y, s, z, out, start, rows, stride, width):  # type: ignore
    """Compute out = (log product + shift + z + y - y) s + y + z, and return its smallest and largest value."""
    _widest()
    low, high = HIGHEST, LOWEST
    for row in range(rows):
        first, gap = start + row * stride, start + row * (stride - width)
        for begin in range(first, first + width, BLOCK):
            end = min(begin + BLOCK, first + width)
            a, b, c, result = product[begin - gap : end - gap], y[begin:end], z[begin:end], out[begin:end]
            for i in range(result.size):
                result[i] = ((((_log(a[i]) + shift + c[i]) + b[i]) - b[i]) * s + b[i]) + c[i]
            low, high = _range(result, low, high)
    return _ends(low, high)


@jit(types.UniTuple(types.float64, 2), READ, READ, types.float64, WRITTEN, *CHUNK)
def _blend(x, y, s, out, start, rows, stride, width):  # type: ignore
    """Compute out = (x - y) s + y, to the bit where x = y; return its largest value and the sum of exp(out - that)."""
    _widest()
    top, total, filled = -np.inf, 0.0, 0
    scratch = np.empty(BLOCK)
    for row in range(rows):
        first = start + row * stride
        for begin in range(first, first + width, BLOCK):
            end = min(begin + BLOCK, first + width)
            if filled + end - begin > BLOCK:
                top, total = _log_mass(scratch[:filled], top, total)
                filled = 0
            a, b, result = x[begin:end], y[begin:end], out[begin:end]
            copy = scratch[filled : filled + end - begin]
            for i in range(result.size):
                copy[i] = result[i] = (a[i] - b[i]) * s + b[i]
            filled += end - begin
    return _log_mass(scratch[:filled], top, total)


@jit(types.void, types.int64, BLOCKS, *(types.int64,) * 2, READ, *(types.int64,) * 3, WRITTEN, *(types.int64,) * 3)
def _product(routine, blocks, outer, inner, source, start, step, row, target, new_start, new_step, new_row):  # type: ignore
    """Multiply a matrix, given by blocks, with lines of values: `inner` beside each other, `outer` times.

    Where the first value is, how far the next group of lines and the next value of a line are is said of `source` and
    of `target`. A row of `blocks` is: first row and rows, first column and columns of a block, its address and how far
    its next row is, or its next column for lines without gaps; and 1 where the product adds to that of the one before.
    """
    values, result = np.int64(source.ctypes.data) + 8 * start, np.int64(target.ctypes.data) + 8 * new_start
    for i in range(blocks.shape[0]):
        first_row, rows, first_column, columns, address, stride, adds = blocks[i]
        beta = float(adds)
        if row == new_row == 1:  # lines without gaps: all of them at once, or as many as BLAS has fast code for
            lines = LINES if rows * columns <= SMALL else outer
            for group in range(0, outer, lines):
                a, c = values + 8 * (group * step + first_column), result + 8 * (group * new_step + first_row)
                count = min(lines, outer - group)
                _dgemm(routine, rows, count, columns, address, stride, a, step, beta, c, new_step)
            continue
        for group in range(outer):
            a = values + 8 * (group * step + first_column * row)
            c = result + 8 * (group * new_step + first_row * new_row)
            _dgemm(routine, inner, rows, columns, a, row, address, stride, beta, c, new_row)


@jit(types.float64, READ, *(types.int64,) * 6, WRITTEN)
def _middles(x, start, outer, step, n, row, inner, middle):  # type: ignore
    """Return the middles of the ranges of lines of values, as in `_product`, and the widest of the ranges."""
    _widest()
    widest = 0.0
    high = np.empty(inner)
    for group in range(outer):
        first = start + group * step
        if inner == row == 1:
            bottom, ceiling = _range(x[first : first + n], HIGHEST, LOWEST)
            smallest, largest = _ends(bottom, ceiling)
            middle[group] = 0.5 * (smallest + largest)
            widest = max(widest, largest - smallest)
            continue
        low = middle[group * inner : (group + 1) * inner]
        low[:] = x[first : first + inner]
        high[:] = low
        for k in range(1, n):
            values = x[first + k * row : first + k * row + inner]
            for i in range(inner):
                low[i], high[i] = min(low[i], values[i]), max(high[i], values[i])
        for i in range(inner):
            widest = max(widest, high[i] - low[i])
            low[i] = 0.5 * (low[i] + high[i])
    return widest


@jit(types.void, READ, *(types.int64,) * 6, READ, WRITTEN)
def _exp_lines(x, start, outer, step, n, row, inner, middle, out):  # type: ignore
    """Compute out = exp(x - middle) for lines of values, without gaps."""
    _widest()
    for group in range(outer):
        first = start + group * step
        if inner == row == 1:
            values, result, shift = x[first : first + n], out[group * n : (group + 1) * n], middle[group]
            for i in range(n):
                result[i] = _exp(values[i] - shift)
            continue
        shifts = middle[group * inner : (group + 1) * inner]
        for k in range(n):
            values = x[first + k * row : first + k * row + inner]
            result = out[(group * n + k) * inner : (group * n + k + 1) * inner]
            for i in range(inner):
                result[i] = _exp(values[i] - shifts[i])


@jit(types.void, READ, *(types.int64,) * 6, READ, WRITTEN)
def _log_lines(product, start, outer, step, n, row, inner, middle, out):  # type: ignore
    """Compute out = log product + middle for lines of values; the product is without gaps."""
    _widest()
    for group in range(outer):
        first = start + group * step
        if inner == row == 1:
            values, result, shift = product[group * n : (group + 1) * n], out[first : first + n], middle[group]
            for i in range(n):
                result[i] = _log(values[i]) + shift
            continue
        shifts = middle[group * inner : (group + 1) * inner]
        for k in range(n):
            values = product[(group * n + k) * inner : (group * n + k + 1) * inner]
            result = out[first + k * row : first + k * row + inner]
            for i in range(inner):
                result[i] = _log(values[i]) + shifts[i]


def _flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1)


class CompiledCellwise(Cellwise):
    """Operations of `Cellwise`, compiled where they can be."""

    def __init__(self) -> None:
        super().__init__(np)

    @override
    def empty(self, like: np.ndarray) -> np.ndarray:
        return np.empty(like.shape)

    @override
    def add(self, chunk: Chunk, scale: float, x: Any, y: Any, out: Any) -> tuple[Any, Any]:
        return _add(scale, _flat(x), _flat(y), _flat(out), *chunk.numbers)

    @override
    def exp(self, chunk: Chunk, x: Any, shift: float) -> Any:
        out = np.empty(x[chunk.index].shape)
        _exp_of(_flat(x), shift, _flat(out), *chunk.numbers)
        return out

    @override
    def blend_add(self, chunk: Chunk, x: Any, y: Any, s: float, z: Any, out: Any) -> tuple[Any, Any]:
        return _blend_add(_flat(x), _flat(y), s, _flat(z), _flat(out), *chunk.numbers)

    @override
    def product_across(self, chunk: Chunk, values: Any, shift: float, bands: Sequence[Any], reach: float) -> None:
        """Multiply by BLAS, with no pass over the values between the products of two axes."""
        shape, product = values.shape, _flat(self.exp(chunk, values, shift))
        if len(shape) == 1:
            values[chunk.index] = product
        inner = math.prod(shape[1:])
        for axis in range(1, len(shape)):
            step, inner = inner, inner // shape[axis]
            last = axis == len(shape) - 1
            target, start = (_flat(values), chunk.start) if last else (np.empty(product.shape), 0)
            lines = product.size // step, inner
            blocks = bands[axis].addresses(reach, transposed=last)
            _product(DGEMM, blocks, *lines, product, 0, step, inner, target, start, step, inner)
            product = target

    @override
    def product_down(self, chunk: Chunk, values: Any, band: Any, reach: float) -> Any:
        """Multiply by BLAS, which reads the values where they are."""
        result = np.empty(values[chunk.index].shape)
        row, width = values.size // values.shape[0], result.size // values.shape[0]
        places = _flat(values), chunk.start, values.size, row, _flat(result), 0, result.size, width
        _product(DGEMM, band.addresses(reach, transposed=row == 1), 1, width, *places)
        return result

    @override
    def log_along(self, chunk: Chunk, values: Any, axis: int, band: Any, widest: float) -> bool:
        """Do exponential, product and logarithm in one compiled pass each."""
        shape, flat = values.shape, _flat(values)
        n, row = shape[axis], math.prod(shape[axis + 1 :])
        outer, inner = (1, chunk.rows * chunk.width // n) if axis == 0 else (chunk.width // (n * row), row)
        places = chunk.start, outer, n * row, n, row, inner
        middle, product, result = np.empty(outer * inner), np.empty(outer * n * inner), np.empty(outer * n * inner)
        span = _middles(flat, *places, middle)
        if not span <= widest:
            return False
        _exp_lines(flat, *places, middle, product)
        blocks = band.addresses(band.reach(0.0, span), transposed=inner == 1)
        _product(DGEMM, blocks, outer, inner, product, 0, n * inner, inner, result, 0, n * inner, inner)
        _log_lines(result, *places, middle, flat)
        return True

    @override
    def log(self, chunk: Chunk, product: Any, shift: float | None, sign: float, terms: Terms, out: Any) -> None:
        """Do it in one compiled pass, where there is a logarithm to be taken, and two terms; else as the base does."""
        if len(terms) != 2 or shift is None:
            super().log(chunk, product, shift, sign, terms, out)
            return
        (a, x), (b, y) = terms
        _log_of(_flat(product), shift, sign, a, _flat(x), b, _flat(y), _flat(out), *chunk.numbers)

    @override
    def log_blend_add(
        self, chunk: Chunk, product: Any, shift: float | None, *, y: Any, s: float, z: Any, out: Any
    ) -> tuple[Any, Any]:
        """Do it in one compiled pass, where there is a logarithm to be taken; else as the base does."""
        if shift is None:
            return super().log_blend_add(chunk, product, shift, y=y, s=s, z=z, out=out)
        return _log_blend_add(_flat(product), shift, _flat(y), s, _flat(z), _flat(out), *chunk.numbers)

    @override
    def log_blend(
        self, chunk: Chunk, product: Any, shift: float | None, *, y: Any, s: float, z: Any, volume: Any, out: Any
    ) -> tuple[Any, Any]:
        """Do it in one compiled pass, for a logarithm to be taken, and equal cells; else as the base does."""
        if shift is None or not isinstance(volume, float):
            return super().log_blend(chunk, product, shift, y=y, s=s, z=z, volume=volume, out=out)
        top, total = _log_blend(_flat(product), shift, _flat(y), s, _flat(z), _flat(out), *chunk.numbers)
        return np.float64(top), np.float64(total * volume)

    @override
    def blend(self, chunk: Chunk, x: Any, y: Any, s: float, volume: Any, out: Any) -> tuple[Any, Any]:
        """Do it in one compiled pass where all cells are equal; else as the base does."""
        if not isinstance(volume, float):
            return super().blend(chunk, x, y, s, volume, out)
        top, total = _blend(_flat(x), _flat(y), s, _flat(out), *chunk.numbers)
        return np.float64(top), np.float64(total * volume)
