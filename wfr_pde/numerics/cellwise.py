"""Passes over the cells of a grid, piece by piece: what a step does besides products of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Piece:
    """Some of the cells: slices of one axis, and the same in arrays made flat.

    Attributes
    ----------
    index : tuple
        The cells of the piece are ``array[index]``.
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
    def along(cls, shape: tuple[int, ...], axis: int, first: int, last: int) -> Piece:
        """The cells from `first` to before `last` of one axis."""
        index = (*(slice(None),) * axis, slice(first, last), ...)
        if last - first == shape[axis]:
            return cls(index, 0, 1, math.prod(shape), math.prod(shape))
        inner = math.prod(shape[axis + 1 :])
        return cls(index, first * inner, math.prod(shape[:axis]), shape[axis] * inner, (last - first) * inner)


class Passes:
    """The passes in the array API. Arrays are those of the whole grid, of which a pass sees one piece."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def empty(self, like: Any) -> Any:
        """An array to write to."""
        return self.xp.empty_like(like)

    def add(self, piece: Piece, scale: float, x: Any, y: Any, out: Any) -> tuple[Any, Any]:
        """out = scale x + y; its smallest and largest value."""
        result = scale * x[piece.index]
        result += y[piece.index]
        out[piece.index] = result
        return self.xp.min(result), self.xp.max(result)

    def exp(self, piece: Piece, x: Any, shift: float) -> Any:
        """exp(x - shift), of a piece only; x within 430 nats."""
        return self.xp.exp(x[piece.index] - shift if shift else x[piece.index])

    def towards(self, piece: Piece, x: Any, y: Any, s: float, z: Any, out: Any) -> tuple[Any, Any]:
        """out = (x - y) s + y + z; its smallest and largest value."""
        result = self._mixture(x[piece.index], y[piece.index], s)
        result += z[piece.index]
        out[piece.index] = result
        return self.xp.min(result), self.xp.max(result)

    def across(self, piece: Piece, values: Any, shift: float, bands: Sequence[Any], reach: float) -> None:
        """values = the product of exp(values - shift) with bands of matrices along all axes but the first.

        Parameters
        ----------
        piece : Piece
            Of the first axis.
        values : array
            Within 430 nats.
        shift : float
        bands : sequence of Band
            One per axis; the first is not used.
        reach : float
            As in `Band.product`.
        """
        product = self.exp(piece, values, shift)
        for axis in range(1, len(values.shape)):
            product = bands[axis].product(product, axis, reach)
        values[piece.index] = product

    def down(self, piece: Piece, values: Any, band: Any, reach: float) -> Any:
        """The product of values of a piece, not of the first axis if there are others, with a band along that."""
        return band.product(values[piece.index], 0, reach)

    def log_along(self, piece: Piece, values: Any, axis: int, band: Any, widest: float) -> bool:
        """values = log of the product of exp(values) with a band along an axis, with a shift per line.

        Parameters
        ----------
        piece : Piece
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
        xp, part = self.xp, values[piece.index]
        low, high = xp.min(part, axis=axis, keepdims=True), xp.max(part, axis=axis, keepdims=True)
        span = float(xp.max(high - low))
        if not span <= widest:
            return False
        middle = 0.5 * (low + high)
        product = band.product(xp.exp(part - middle), axis, band.reach(0.0, span))
        values[piece.index] = xp.log(product) + middle
        return True

    def log(
        self,
        piece: Piece,
        product: Any,
        shift: float | None,
        sign: float,
        terms: Sequence[tuple[float, Any]],
        out: Any,
    ) -> None:
        """out = sign (log product + shift) + a x + b y, with terms (a, x), (b, y), and the product of a piece only.

        With a shift of None it is the logarithm already. It may be overwritten.
        """
        result = self._log(product, shift)
        if sign != 1.0:
            result *= sign
        for factor, term in terms:
            result += term[piece.index] if factor == 1.0 else factor * term[piece.index]
        out[piece.index] = result

    def log_towards_next(
        self, piece: Piece, product: Any, shift: float | None, y: Any, s: float, z: Any, out: Any
    ) -> tuple[Any, Any]:
        """`log_towards`, and `towards` after it: out = (log product + shift + z + y - y) s + y + z, and its range."""
        result = self._log(product, shift)
        result += z[piece.index]
        result += y[piece.index]
        result = self._mixture(result, y[piece.index], s)
        result += z[piece.index]
        out[piece.index] = result
        return self.xp.min(result), self.xp.max(result)

    def log_towards(
        self, piece: Piece, product: Any, shift: float | None, y: Any, s: float, z: Any, volume: Any, out: Any
    ) -> tuple[Any, Any]:
        """out = (log product + shift + z + y - y) s + y, with the product as in `log`, and masses as in `mix`."""
        result = self._log(product, shift)
        result += z[piece.index]
        result += y[piece.index]
        result = self._mixture(result, y[piece.index], s)
        out[piece.index] = result
        return self.log_mass(piece, result, volume)

    def mix(self, piece: Piece, x: Any, y: Any, s: float, volume: Any, out: Any) -> tuple[Any, Any]:
        """out = (x - y) s + y; its largest value, and the sum of volume exp(out - that)."""
        result = self._mixture(x[piece.index], y[piece.index], s)
        out[piece.index] = result
        return self.log_mass(piece, result, volume)

    @staticmethod
    def _mixture(x: Any, y: Any, s: float) -> Any:
        """(x - y) s + y, of a piece: y to the last bit where x = y."""
        result = x - y
        result *= s
        result += y
        return result

    def _log(self, product: Any, shift: float | None) -> Any:
        """log product + shift; the product itself where the shift is None."""
        if shift is None:
            return product
        result = self.xp.log(product)
        if shift:
            result += shift
        return result

    def log_mass(self, piece: Piece, log_values: Any, volume: Any) -> tuple[Any, Any]:
        """Largest value of a piece, and the sum of volume exp(value - that); the volume is a number or an array."""
        top = self.xp.max(log_values)
        values = self.xp.exp(log_values - top)
        if isinstance(volume, float):
            return top, self.xp.sum(values) * volume
        return top, self.xp.sum(values * volume[piece.index])
