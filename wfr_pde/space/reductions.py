"""Sums, integrals and extremes over the cells of a grid, chunk by chunk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wfr_pde.numerics.backends import Backend
from wfr_pde.numerics.cellwise import Passes, Piece
from wfr_pde.space.cell_volumes import CellVolumes

THREADS_FROM = 8  # pieces: with fewer, threads for a cheap operation cost more than they save
SHARED_PRODUCT = 2e7  # operations of a matrix product, a third of a millisecond: with fewer, one thread does it


@dataclass(frozen=True, eq=False)
class Reductions:
    """What goes over all cells of a grid: every number that depends on values in more than one place is made here.

    Work is done piece by piece, so that temporaries stay in cache, and threads share the pieces.

    Parameters
    ----------
    shape : tuple of int
        Of the arrays over the grid.
    backend : Backend
    volumes : CellVolumes
        Of the cells of the grid.
    """

    shape: tuple[int, ...]
    backend: Backend
    volumes: CellVolumes

    @cached_property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    # Sums and extremes

    def sum(self, values: Any) -> Any:
        """Sum over all cells."""
        return self.backend.xp.sum(values)

    def max(self, values: Any) -> Any:
        """Largest value over all cells."""
        return self.backend.xp.max(values)

    def min(self, values: Any) -> Any:
        """Smallest value over all cells."""
        return self.backend.xp.min(values)

    def range(self, values: Any) -> tuple[float, float]:
        """Smallest and largest value over all cells."""
        xp = self.backend.xp
        return joined(self._each(lambda _, values: (xp.min(values), xp.max(values)), values, least=THREADS_FROM))

    def all_finite(self, values: Any) -> bool:
        """Whether the values of all cells are finite."""
        return bool(self.backend.xp.all(self.backend.xp.isfinite(values)))

    def sum_along(self, values: Any, axes: tuple[int, ...]) -> Any:
        """Sum along some axes, an array over the others."""
        return self.backend.xp.sum(values, axis=axes)

    def log_sum_along(self, log_values: Any, axes: tuple[int, ...]) -> Any:
        """Logarithm of the sum of exp(log_values) along some axes, an array over the others."""
        xp = self.backend.xp
        top = xp.max(log_values, axis=axes, keepdims=True)  # per line, so that the tails stay right
        total = xp.sum(xp.exp(log_values - top), axis=axes)
        return xp.log(total) + xp.reshape(top, total.shape)

    def sum_of_pieces(self, function: Callable[[Piece], Any], pieces: Iterable[Piece]) -> float:
        """Sum of all entries of the arrays function(piece), one piece after another."""
        total: Any = 0.0
        for piece in pieces:
            total = total + self.backend.xp.sum(function(piece))
        return float(total)

    # Integrals

    def integrate(self, values: Any) -> Any:
        """∫ values dx by the midpoint rule: spectrally accurate for smooth values that end inside the box.

        (On axes with given edges of unequal cells it is of order 2.)
        """
        if self.volumes.are_equal:
            return self.sum(values) * self.volumes.volume
        return self.sum(values * self.volumes.volume)

    def log_integrate(self, log_values: Any) -> Any:
        """Log ∫ exp(log_values) dx, without overflow."""
        volume = self.volumes.volume
        masses = self._each(lambda piece, values: self.passes.log_mass(piece, values, volume), log_values)
        return self._log_total(masses)

    def integral_of(self, function: Callable[..., Any], *arrays: Any) -> Any:
        """The integral of a function of arrays over space, piece by piece; as `integrate`."""
        if self.volumes.are_equal:
            return self._sum_of(function, *arrays) * self.volumes.volume
        return self._sum_of(lambda volume, *values: volume * function(*values), self.volumes.volume, *arrays)

    # Arrays that are made piece by piece, together with a reduction of them

    def in_place(self, function: Callable[..., None], values: Any, *others: Any) -> Any:
        """`values`, changed by a function(values, others) that works in place."""
        self._each(lambda _, *pieces: function(*pieces), values, *others, least=THREADS_FROM)
        return values

    def weighted_sum(self, scale: float, x: Any, y: Any) -> tuple[Any, float, float]:
        """scale x + y as a new array, its smallest and its largest value."""
        out = self.passes.empty(x)
        ends = self._for_pieces(lambda piece: self.passes.add(piece, scale, x, y, out), THREADS_FROM)
        return out, *joined(ends)

    def log_mixture(self, x: Any, y: Any, s: float) -> Any:
        """(x - y) s + y, less the logarithm of the integral of its exponential: a new array; y itself where x = y."""
        out, volume = self.passes.empty(x), self.volumes.volume
        masses = self._for_pieces(lambda piece: self.passes.mix(piece, x, y, s, volume, out))
        return self.of_mass_one(out, masses)

    def of_mass_one(self, log_values: Any, masses: list[tuple[Any, Any]]) -> Any:
        """`log_values`, less the logarithm of what `Passes.log_mass` says of their pieces: in place."""
        log_mass = self._log_total(masses)

        def shift(piece: Piece) -> None:
            log_values[piece.index] -= log_mass

        self._for_pieces(shift, THREADS_FROM)
        return log_values

    # Pieces

    def pieces(self, axis: int = 0, cells: int | None = None) -> list[Piece]:
        """Pieces of the grid, slices of one axis, of about so many cells."""
        n = self.shape[axis]
        rows = max(1, (self.backend.chunk if cells is None else cells) * n // self.size)
        return [Piece.along(self.shape, axis, start, min(start + rows, n)) for start in range(0, n, rows)]

    @cached_property
    def passes(self) -> Passes:
        """Passes over the pieces, as they are fastest for so many cells."""
        return self.backend.passes(self.size)

    def threads(self) -> AbstractContextManager[object]:
        """Context for many steps: threads share the pieces, or one does all where they are too small.

        Threads that wait for each other cost more than they save there, and many times more if other work keeps a
        core busy. Results do not depend on the number of threads.
        """
        return self.backend.threads(2 * max(self.shape) * self.size >= SHARED_PRODUCT)

    @cached_property
    def _chunks(self) -> list[Piece]:
        """Pieces that stay in cache."""
        return self.pieces()

    def _for_pieces(self, function: Callable[[Piece], Any], least: int = 2) -> list[Any]:
        """The values of a function for all pieces, by threads if there are at least so many."""
        if len(self._chunks) < least:
            return [function(piece) for piece in self._chunks]
        return self.backend.map(function, self._chunks)

    def _each(self, function: Callable[..., Any], *arrays: Any, least: int = 2) -> list[Any]:
        """The values of function(piece, arrays there) for all pieces."""
        return self._for_pieces(lambda piece: function(piece, *(array[piece.index] for array in arrays)), least)

    def _sum_of(self, function: Callable[..., Any], *arrays: Any) -> Any:
        """Sum over all cells of a function of arrays."""
        first, *others = self._each(lambda _, *values: self.backend.xp.sum(function(*values)), *arrays)
        return sum(others, first)

    def _log_total(self, masses: list[tuple[Any, Any]]) -> Any:
        """Logarithm of the sum of what `Passes.log_mass` says of pieces."""
        xp = self.backend.xp
        (top, total), *others = masses
        for other_top, mass in others:
            highest = xp.maximum(top, other_top)
            total = total * xp.exp(top - highest) + mass * xp.exp(other_top - highest)
            top = highest
        return top + xp.log(total)


def joined(ends: list[tuple[Any, Any]]) -> tuple[float, float]:
    """Smallest and largest of pieces as of the whole; not a number if one is."""
    lows, highs = ([float(end) for end in side] for side in zip(*ends, strict=True))
    if len(ends) == 1:
        return lows[0], highs[0]
    return float(np.min(lows)), float(np.max(highs))
