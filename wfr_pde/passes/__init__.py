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

    @classmethod
    def along(cls, shape: tuple[int, ...], axis: int, first: int, last: int) -> Piece:
        """The cells from `first` to before `last` of one axis."""
        inner = math.prod(shape[axis + 1 :])
        rows = math.prod(shape[:axis])
        index = (*(slice(None),) * axis, slice(first, last), ...)
        return cls(index, first * inner, rows, shape[axis] * inner, (last - first) * inner)


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

    def log(
        self, piece: Piece, product: Any, shift: float, sign: float, terms: Sequence[tuple[float, Any]], out: Any
    ) -> None:
        """out = sign (log product + shift) + a x + b y, with the product of a piece only, and terms (a, x), (b, y)."""
        result = self.xp.log(product)
        if shift:
            result += shift
        self.finish(piece, result, sign, terms, out)

    def finish(self, piece: Piece, result: Any, sign: float, terms: Sequence[tuple[float, Any]], out: Any) -> None:
        """out = sign result + a x + b y; overwrites the result."""
        if sign != 1.0:
            result *= sign
        for factor, term in terms:
            result += term[piece.index] if factor == 1.0 else factor * term[piece.index]
        out[piece.index] = result

    def mix(self, piece: Piece, x: Any, y: Any, s: float, volume: Any, out: Any) -> tuple[Any, Any]:
        """out = (x - y) s + y; its largest value, and the sum of volume exp(out - that)."""
        result = x[piece.index] - y[piece.index]
        result *= s
        result += y[piece.index]
        out[piece.index] = result
        return self.log_mass(piece, result, volume)

    def log_mass(self, piece: Piece, log_values: Any, volume: Any) -> tuple[Any, Any]:
        """Largest value of a piece, and the sum of volume exp(value - that); the volume is a number or an array."""
        top = self.xp.max(log_values)
        values = self.xp.exp(log_values - top)
        if isinstance(volume, float):
            return top, self.xp.sum(values) * volume
        return top, self.xp.sum(values * volume[piece.index])
