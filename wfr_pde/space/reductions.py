"""Sums, integrals and extremes over the cells of a grid, chunk by chunk."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wfr_pde.numerics.backends import Backend
from wfr_pde.numerics.cellwise import Cellwise, Chunk
from wfr_pde.space.cell_volumes import CellVolumes

MIN_SHARED_CHUNKS = 8  # chunks: with fewer, threads for a cheap operation cost more than they save
MIN_SHARED_OPERATIONS = 2e7  # operations of a matrix product, a third of a millisecond: with fewer, one thread does it


@dataclass(frozen=True, eq=False)
class Reductions:
    """Sums, integrals and extremes over the cells of a grid: every number that depends on values in several places.

    Work is done chunk by chunk, so that temporaries stay in cache, and threads share the chunks. Where a grid is cut
    into slabs of its first axis, one per process, arrays are local, and all results are those of the whole grid, the
    same in every process, so that all take the same way where a number decides. Such a grid overrides the four methods
    under "Processes" alone.

    Parameters
    ----------
    shape : tuple of int
        Number of cells per axis, of the whole grid.
    backend : Backend
    volumes : CellVolumes
        Of the cells in this process.
    """

    shape: tuple[int, ...]
    backend: Backend
    volumes: CellVolumes

    @cached_property
    def size(self) -> int:
        """Number of cells of the whole grid."""
        return math.prod(self.shape)

    @property
    def local_shape(self) -> tuple[int, ...]:
        """Shape of the arrays in this process."""
        return self.volumes.local_shape

    # Processes: here there is one

    def summed(self, part: Any) -> Any:
        """Sum a number or an array over the processes."""
        return part

    def extended(self, low: Any, high: Any) -> tuple[Any, Any]:
        """Return the smallest and the largest value over the processes; nan if one is."""
        return low, high

    def gathered(self, part: Any) -> list[Any]:
        """Return the parts of all processes, in the order of their cells."""
        return [part]

    def layers_beside(self, values: Any, axis: int) -> tuple[Any, Any]:
        """Return the layers, one cell thick, before the first cells of this process along an axis and after the last.

        Beyond an end of the axis comes the layer at the other end.
        """
        return values[_along(axis, slice(-1, None))], values[_along(axis, slice(0, 1))]

    # Sums and extremes

    def sum(self, values: Any) -> Any:
        """Sum `values` over all cells."""
        return self.summed(self.backend.xp.sum(values))

    def max(self, values: Any) -> Any:
        """Return the largest of `values` over all cells."""
        largest = self.backend.xp.max(values)
        return self.extended(largest, largest)[1]

    def min(self, values: Any) -> Any:
        """Return the smallest of `values` over all cells."""
        smallest = self.backend.xp.min(values)
        return self.extended(smallest, smallest)[0]

    def range(self, values: Any) -> tuple[float, float]:
        """Return the smallest and the largest of `values` over all cells."""
        xp = self.backend.xp
        return self.joined(
            self._each(lambda _, values: (xp.min(values), xp.max(values)), values, least=MIN_SHARED_CHUNKS)
        )

    def joined(self, ends: list[tuple[Any, Any]]) -> tuple[float, float]:
        """Join the smallest and largest values of chunks, pairs in `ends`, to those of all processes; nan if one is."""
        lows, highs = ([float(end) for end in side] for side in zip(*ends, strict=True))
        if len(ends) == 1:
            return self.extended(lows[0], highs[0])
        return self.extended(float(np.min(lows)), float(np.max(highs)))

    def any(self, holds: bool) -> bool:
        """Return whether something holds in some process."""
        return bool(self.extended(0.0, float(holds))[1])

    def all_finite(self, values: Any) -> bool:
        """Return whether the values of all cells are finite."""
        return not self.any(not bool(self.backend.xp.all(self.backend.xp.isfinite(values))))

    def sum_of_chunks(self, function: Callable[[Chunk], Any], chunks: Iterable[Chunk]) -> float:
        """Sum all entries of the arrays function(chunk), one chunk after another."""
        total: Any = 0.0
        for chunk in chunks:
            total = total + self.backend.xp.sum(function(chunk))
        return float(self.summed(total))

    # Arrays over some axes, or of some cells: of the whole grid, in every process

    def sum_along(self, values: Any, axes: tuple[int, ...]) -> Any:
        """Sum along some axes, an array over the others."""
        if 0 in axes:
            return self.summed(self.backend.xp.sum(values, axis=axes))
        return self._whole(self.backend.xp.sum(values, axis=axes) if axes else values)

    def max_along(self, values: Any, axes: tuple[int, ...]) -> Any:
        """Return the largest value along some axes, an array over the others."""
        xp = self.backend.xp
        largest = xp.max(values, axis=axes) if axes else values
        return functools.reduce(xp.maximum, self.gathered(largest)) if 0 in axes else self._whole(largest)

    def log_sum_along(self, log_values: Any, axes: tuple[int, ...]) -> Any:
        """Return log of the sum of exp(log_values) along some axes, an array over the others."""
        xp = self.backend.xp
        top = xp.max(log_values, axis=axes, keepdims=True)  # per line, so that the tails stay right
        if 0 in axes:
            top = functools.reduce(xp.maximum, self.gathered(top))
        total = xp.sum(xp.exp(log_values - top), axis=axes)
        if 0 in axes:
            total = self.summed(total)
        log_sum = xp.log(total) + xp.reshape(top, total.shape)
        return log_sum if 0 in axes else self._whole(log_sum)

    def whole(self, values: Any) -> np.ndarray:
        """Return the values of all cells; a NumPy array."""
        return self.backend.asnumpy(self._whole(values))

    def values_at(self, values: np.ndarray, index: Sequence[np.ndarray]) -> np.ndarray:
        """Return the values of some cells, given by their numbers along the axes of the whole grid; NumPy arrays."""
        cells = self.volumes.local_cells[0]
        here = (index[0] >= cells.start) & (index[0] < cells.stop)
        found = np.zeros(len(index[0]))
        found[here] = values[(index[0][here] - cells.start, *(numbers[here] for numbers in index[1:]))]
        return np.asarray(self.summed(found))

    def cells_by_mass(self, masses: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the numbers, along the axes, of the cells up to which masses add up to given rising shares of all."""
        first, cumulative = self.volumes.local_cells[0].start, np.cumsum(masses.ravel())
        totals = self.gathered((first, float(cumulative[-1])))
        wanted = shares * sum(total for _, total in totals)
        below = sum(total for start, total in totals if start < first)
        is_first, is_last = first == totals[0][0], first == totals[-1][0]
        here = wanted[((wanted > below) | is_first) & ((wanted <= below + cumulative[-1]) | is_last)]
        numbers = np.minimum(np.searchsorted(cumulative, here - below), masses.size - 1)
        numbers += first * math.prod(self.shape[1:])
        return np.unravel_index(np.concatenate(self.gathered(numbers)), self.shape)

    def first_where(self, holds: np.ndarray, values: np.ndarray) -> tuple[int, tuple[int, ...], float] | None:
        """Count the cells where a condition holds, with the place of the first, and its value; None if nowhere."""
        found = None
        if holds.any():
            place = np.unravel_index(int(np.argmax(holds)), holds.shape)
            index = (int(place[0]) + self.volumes.local_cells[0].start, *map(int, place[1:]))
            found = int(holds.sum()), index, float(values[place])
        cells = [one for one in self.gathered(found) if one is not None]
        return (sum(count for count, _, _ in cells), *cells[0][1:]) if cells else None

    def neighbours(self, values: Any, axis: int, layers: tuple[Any, Any] | None = None) -> tuple[Any, Any]:
        """Return the values of the cells below and above along an axis; beyond an end, those of the other end.

        Of a part of the cells, cut across another axis, with the `layers_beside` the whole cut in the same way.
        """
        before, after = self.layers_beside(values, axis) if layers is None else layers
        below, above = self.backend.xp.empty_like(values), self.backend.xp.empty_like(values)
        below[_along(axis, slice(0, 1))], above[_along(axis, slice(-1, None))] = before, after
        below[_along(axis, slice(1, None))] = values[_along(axis, slice(None, -1))]
        above[_along(axis, slice(None, -1))] = values[_along(axis, slice(1, None))]
        return below, above

    def _whole(self, values: Any) -> Any:
        """Return the values of all processes, one after another along the first axis."""
        parts = self.gathered(values)
        if len(parts) == 1:
            return parts[0]
        return self.backend.asarray(np.concatenate([self.backend.asnumpy(part) for part in parts]))

    # Integrals

    def integrate(self, values: Any) -> Any:
        """Compute ∫ `values` dx by the midpoint rule: spectrally accurate for smooth ones that end inside the box.

        (On axes with given edges of unequal cells it is of order 2.) The values have the shape of the grid: one of each
        cell.
        """
        if self.volumes.are_equal:
            return self.sum(values) * self.volumes.volume
        return self.sum(values * self.volumes.volume)

    def log_integrate(self, log_values: Any) -> Any:
        """Compute log ∫ exp(`log_values`) dx, without overflow."""
        volume = self.volumes.volume
        masses = self._each(lambda chunk, values: self.cellwise.log_mass(chunk, values, volume), log_values)
        return self._log_total(masses)

    def integral_of(self, function: Callable[..., Any], *arrays: Any) -> Any:
        """Integrate a `function` of `arrays` over space, chunk by chunk, as `integrate` does."""
        if self.volumes.are_equal:
            return self._sum_of(function, *arrays) * self.volumes.volume
        return self._sum_of(lambda volume, *values: volume * function(*values), self.volumes.volume, *arrays)

    # Arrays that are made chunk by chunk, together with a reduction of them

    def in_place(self, function: Callable[..., None], values: Any, *others: Any) -> Any:
        """Let a `function(values, *others)` change the `values`, chunk by chunk, and return them."""
        self._each(lambda _, *chunks: function(*chunks), values, *others, least=MIN_SHARED_CHUNKS)
        return values

    def weighted_sum(self, scale: float, x: Any, y: Any) -> tuple[Any, float, float]:
        """Return `scale` times `x` plus `y` as a new array, its smallest and its largest value."""
        out = self.cellwise.empty(x)
        ends = self._for_chunks(lambda chunk: self.cellwise.add(chunk, scale, x, y, out), MIN_SHARED_CHUNKS)
        return out, *self.joined(ends)

    def log_mixture(self, x: Any, y: Any, s: float) -> Any:
        """Return (`x` - `y`) `s` + `y`, normalised, as a new array; `y` itself where `x` and `y` are equal.

        Less the logarithm of the integral of its exponential: the geometric mean x^s y^(1-s) of two densities by their
        logarithms, with mass one.
        """
        out, volume = self.cellwise.empty(x), self.volumes.volume
        masses = self._for_chunks(lambda chunk: self.cellwise.blend(chunk, x, y, s, volume, out))
        return self.of_mass_one(out, masses)

    def of_mass_one(self, log_values: Any, masses: list[tuple[Any, Any]]) -> Any:
        """Subtract from `log_values`, in place, the logarithm of the mass that the `masses` of chunks add up to."""
        log_mass = self._log_total(masses)

        def shift(chunk: Chunk) -> None:
            log_values[chunk.index] -= log_mass

        self._for_chunks(shift, MIN_SHARED_CHUNKS)
        return log_values

    # Chunks

    def chunks(self, axis: int = 0, cells: int | None = None) -> list[Chunk]:
        """Return chunks of the cells in this process: slices of one `axis`, of about so many `cells`."""
        shape = self.local_shape
        n = shape[axis]
        rows = max(1, (self.backend.chunk if cells is None else cells) * n // math.prod(shape))
        return [Chunk.along(shape, axis, start, min(start + rows, n)) for start in range(0, n, rows)]

    @cached_property
    def cellwise(self) -> Cellwise:
        """Operations cell by cell on the chunks, as they are fastest for so many cells."""
        return self.backend.cellwise(self.size)

    def threads(self) -> AbstractContextManager[object]:
        """Return a context for many steps: threads share the chunks, or one does all where they are too small.

        Threads that wait for each other cost more than they save there, and many times more if other work keeps a
        core busy. Results do not depend on the number of threads.
        """
        return self.backend.threads(2 * max(self.shape) * self.size >= MIN_SHARED_OPERATIONS)

    @cached_property
    def _cached_chunks(self) -> list[Chunk]:
        """Chunks that stay in cache."""
        return self.chunks()

    def _for_chunks(self, function: Callable[[Chunk], Any], least: int = 2) -> list[Any]:
        """Return the values of a function for all chunks, by threads if there are at least `least` of them."""
        if len(self._cached_chunks) < least:
            return [function(chunk) for chunk in self._cached_chunks]
        return self.backend.map(function, self._cached_chunks)

    def _each(self, function: Callable[..., Any], *arrays: Any, least: int = 2) -> list[Any]:
        """Return the values of function(chunk, arrays there) for all chunks."""
        return self._for_chunks(lambda chunk: function(chunk, *(array[chunk.index] for array in arrays)), least)

    def _sum_of(self, function: Callable[..., Any], *arrays: Any) -> Any:
        """Sum a function of arrays over all cells."""
        first, *others = self._each(lambda _, *values: self.backend.xp.sum(function(*values)), *arrays)
        return self.summed(sum(others, first))

    def _log_total(self, masses: list[tuple[Any, Any]]) -> Any:
        """Return log of the mass of all cells, from what `Cellwise.log_mass` says of chunks."""
        top, total = functools.reduce(self._added, self.gathered(functools.reduce(self._added, masses)))
        return top + self.backend.xp.log(total)

    def _added(self, one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
        """Join two sets of values, each told by its largest and the sum of exp(value - largest), to one."""
        xp, highest = self.backend.xp, self.backend.xp.maximum(one[0], other[0])
        return highest, one[1] * xp.exp(one[0] - highest) + other[1] * xp.exp(other[0] - highest)


def _along(axis: int, cells: slice) -> tuple[Any, ...]:
    """Return an index of some cells along one axis, and all along the others."""
    return (slice(None),) * axis + (cells, ...)
