"""Operations cell by cell on a grid, chunk by chunk: what a step does besides products of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Terms = Sequence[tuple[float, Any]]  # of a sum: factors and arrays


@dataclass(frozen=True)
class Chunk:
    """Some of the cells: slices of one axis, and the same in arrays made flat.

    Attributes
    ----------
    index : tuple
        The cells of the chunk are ``array[index]``.
    start, rows, stride, width : int
        They are `rows` runs of `width` values, `stride` apart, from `start` on.
    """

    index: Any
    start: int
    rows: int
    stride: int
    width: int

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """Where it is in flat arrays."""
        return self.start, self.rows, self.stride, self.width

    @classmethod
    def along(cls, shape: tuple[int, ...], axis: int, first: int, last: int) -> Chunk:
        """Make a chunk of the cells from `first` to before `last` of one axis."""
        index = (*(slice(None),) * axis, slice(first, last), ...)
        if last - first == shape[axis]:
            return cls(index, 0, 1, math.prod(shape), math.prod(shape))
        inner = math.prod(shape[axis + 1 :])
        return cls(index, first * inner, math.prod(shape[:axis]), shape[axis] * inner, (last - first) * inner)


class Cellwise:
    """The operations in the array API. Arrays are those over all cells, of which a call sees one chunk."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def empty(self, like: Any) -> Any:
        """Return an array to write to."""
        return self.xp.empty_like(like)

    def add(self, chunk: Chunk, scale: float, x: Any, y: Any, out: Any) -> tuple[Any, Any]:
        """Compute out = scale x + y, and return its smallest and largest value."""
        result = scale * x[chunk.index]
        result += y[chunk.index]
        out[chunk.index] = result
        return self.xp.min(result), self.xp.max(result)

    def exp(self, chunk: Chunk, x: Any, shift: float) -> Any:
        """Compute exp(x - shift) of a chunk only, for x within 430 nats."""
        return self.xp.exp(x[chunk.index] - shift if shift else x[chunk.index])

    def blend_add(self, chunk: Chunk, x: Any, y: Any, s: float, z: Any, out: Any) -> tuple[Any, Any]:
        """Compute out = (x - y) s + y + z, and return its smallest and largest value."""
        result = self._blended(x[chunk.index], y[chunk.index], s)
        result += z[chunk.index]
        out[chunk.index] = result
        return self.xp.min(result), self.xp.max(result)

    def product_across(self, chunk: Chunk, values: Any, shift: float, bands: Sequence[Any], reach: float) -> None:
        """Multiply exp(values - shift) by bands of matrices along all axes but the first, in place.

        Parameters
        ----------
        chunk : Chunk
            Of the first axis.
        values : array
            Within 430 nats.
        shift : float
        bands : sequence of Band
            One per axis; the first is not used.
        reach : float
            As in `Band.product`.
        """
        product = self.exp(chunk, values, shift)
        for axis in range(1, len(values.shape)):
            product = bands[axis].product(product, axis, reach)
        values[chunk.index] = product

    def product_down(self, chunk: Chunk, values: Any, band: Any, reach: float) -> Any:
        """Multiply values of a chunk, of another axis where there is one, by a band along the first axis."""
        return band.product(values[chunk.index], 0, reach)

    def log_along(self, chunk: Chunk, values: Any, axis: int, band: Any, widest: float) -> bool:
        """Replace values by the log of the product of exp(values) with a band along an axis, with a shift per line.

        Parameters
        ----------
        chunk : Chunk
            Of another axis, or everything.
        values : array
        axis : int
        band : Band
        widest : float
            Nats that the values of a line may span.

        Returns
        -------
        bool
            Whether that was done: no line spans more.
        """
        xp, part = self.xp, values[chunk.index]
        low, high = xp.min(part, axis=axis, keepdims=True), xp.max(part, axis=axis, keepdims=True)
        span = float(xp.max(high - low))
        if not span <= widest:
            return False
        middle = 0.5 * (low + high)
        product = band.product(xp.exp(part - middle), axis, band.reach(0.0, span))
        values[chunk.index] = xp.log(product) + middle
        return True

    def log(self, chunk: Chunk, product: Any, shift: float | None, sign: float, terms: Terms, out: Any) -> None:
        """Compute out = sign (log product + shift) + a x + b y, with the terms (a, x), (b, y).

        With a shift of None it is the logarithm already. It may be overwritten.
        """
        result = self._log(product, shift)
        if sign != 1.0:
            result *= sign
        for factor, term in terms:
            result += term[chunk.index] if factor == 1.0 else factor * term[chunk.index]
        out[chunk.index] = result

    def log_blend_add(
        self, chunk: Chunk, product: Any, shift: float | None, *, y: Any, s: float, z: Any, out: Any
    ) -> tuple[Any, Any]:
        """Do `log_blend` and then `blend_add`: out = (log product + shift + z + y - y) s + y + z; return its range."""
        result = self._log(product, shift)
        result += z[chunk.index]
        result += y[chunk.index]
        result = self._blended(result, y[chunk.index], s)
        result += z[chunk.index]
        out[chunk.index] = result
        return self.xp.min(result), self.xp.max(result)

    def log_blend(
        self, chunk: Chunk, product: Any, shift: float | None, *, y: Any, s: float, z: Any, volume: Any, out: Any
    ) -> tuple[Any, Any]:
        """Compute out = (log product + shift + z + y - y) s + y, product as in `log`, and masses as in `blend`."""
        result = self._log(product, shift)
        result += z[chunk.index]
        result += y[chunk.index]
        result = self._blended(result, y[chunk.index], s)
        out[chunk.index] = result
        return self.log_mass(chunk, result, volume)

    def blend(self, chunk: Chunk, x: Any, y: Any, s: float, volume: Any, out: Any) -> tuple[Any, Any]:
        """Compute out = (x - y) s + y, and return its largest value and the sum of volume exp(out - that)."""
        result = self._blended(x[chunk.index], y[chunk.index], s)
        out[chunk.index] = result
        return self.log_mass(chunk, result, volume)

    @staticmethod
    def _blended(x: Any, y: Any, s: float) -> Any:
        """Compute (x - y) s + y of a chunk; it is y to the last bit where x = y."""
        result = x - y
        result *= s
        result += y
        return result

    def _log(self, product: Any, shift: float | None) -> Any:
        """Compute log product + shift; with a shift of None the product is the logarithm already."""
        if shift is None:
            return product
        result = self.xp.log(product)
        if shift:
            result += shift
        return result

    def log_mass(self, chunk: Chunk, log_values: Any, volume: Any) -> tuple[Any, Any]:
        """Return the largest value of a chunk, and the sum of volume exp(value - that); volumes may be one number."""
        top = self.xp.max(log_values)
        values = self.xp.exp(log_values - top)
        if isinstance(volume, float):
            return top, self.xp.sum(values) * volume
        return top, self.xp.sum(values * volume[chunk.index])
