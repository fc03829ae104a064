"""Products with the heat kernel of a grid, in the log-domain and right to rounding in every cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.cellwise import Chunk
from wfr_pde.space.grid import Grid
from wfr_pde.space.heat.band import Band
from wfr_pde.space.heat.blocks import Blocks
from wfr_pde.space.heat.kernel_of_axis import log_heat_kernel

LINES = 128  # lines that a product takes at a time at least, so that BLAS is fast; no number depends on it
WIDEST_BLOCK = 16  # cells: wider blocks are checked and narrowed more often; no number depends on it

Begin = Callable[[Chunk], tuple[Any, Any]] | tuple[float, float]
End = Callable[[Chunk, Any, float | None], Any]


class HeatKernel:
    """The heat kernel of a grid over a given time, as a product of one small matrix per axis.

    Parameters
    ----------
    grid : Grid
    time : float
        Diffusion time alpha dt of u_t = Laplace u.

    Attributes
    ----------
    bands : tuple of Band
        The matrix of every axis.
    rows, columns : lists of Chunk
        Where products along all axes but the first are made at a time, and where that along the first.
    """

    def __init__(self, grid: Grid, time: float) -> None:
        self.grid, self.time, self.span = grid, time, grid.backend.precision.span
        bands: list[Band] = []
        for axis in grid.axes:
            twins = (band for band in bands if band.fits(axis))
            bands.append(next(twins, None) or Band(axis, time, grid.backend))
        self.bands = tuple(bands)
        self._blocks: dict[tuple[int, int], Blocks] = {}
        cells = max(grid.backend.chunk, LINES * max(grid.shape))
        self.rows = grid.chunks(0, cells)
        self.columns = grid.chunks(1, cells) if grid.ndim > 1 else grid.chunks(0, grid.local_size)

    def log_product(
        self,
        log_values: Any,
        plus: Any = None,
        scale: float = 1.0,
        sign: float = 1.0,
        terms: Sequence[tuple[float, Any]] = (),
    ) -> Any:
        """Compute sign log(G exp(scale log_values + plus)) + a x + b y, the logarithm right to rounding over any range.

        One shift and plain matrix products where the range allows it; else axis by axis, with one shift per line or,
        where a line spans too much, per block.

        Parameters
        ----------
        log_values : array
        plus : array, optional
        scale, sign : float
        terms : pairs (a, x), (b, y), optional
            Factors and arrays.
        """
        cellwise, result = self.grid.cellwise, self.grid.cellwise.empty(log_values)

        def begin(chunk: Chunk) -> tuple[Any, Any]:
            if plus is not None:
                return cellwise.add(chunk, scale, log_values, plus, result)
            part = scale * log_values[chunk.index]
            result[chunk.index] = part
            return self.grid.backend.xp.min(part), self.grid.backend.xp.max(part)

        def end(chunk: Chunk, product: Any, shift: float | None) -> None:
            cellwise.log(chunk, product, shift, sign, terms, result)

        self.apply(begin, result, end)
        return result

    def apply(self, begin: Begin, values: Any, end: End) -> list[Any]:
        """Compute log(G exp(values)) chunk by chunk, where `begin` makes the values and `end` takes the result.

        Parameters
        ----------
        begin : callable, or pair of numbers
            ``begin(chunk)`` writes the values of a chunk, and returns the smallest and the largest; maybe twice.
            Where the values are there already: their smallest and largest.
        values : array
            Where it writes to; this is where the product is made.
        end : callable
            ``end(chunk, product, shift)`` gets log(product) + shift of a chunk, or with a shift of None the logarithm
            as it is; it may write to `values`.

        Returns
        -------
        list
            What `end` returned.
        """
        cellwise, backend = self.grid.cellwise, self.grid.backend
        if callable(begin):
            low, high = self._without_shift(begin, values)
            if math.isfinite(high - low):
                return self.product_along_first(values, self.bands[0].reach(low, high), 0.0, end)
            low, high = self.grid.joined(backend.map(begin, self.rows))
        else:
            low, high = begin
        if not math.isfinite(high - low):
            raise NumericalError(
                f"values from e^{low:.6g} to e^{high:.6g} have no product with the heat kernel: density or target "
                "are not finite in some cell; check the target's formula in the box, and the start"
            )
        if not high - low <= self.span:
            self.log_product_along_first(values)
            for axis in range(1, self.grid.ndim):
                self.log_product_along(axis, values, self.rows)
            return backend.map(lambda chunk: end(chunk, values[chunk.index], None), self.rows)
        shift, reach = 0.0 if max(-low, high) <= self.span / 2 else 0.5 * (low + high), self.bands[0].reach(low, high)
        backend.map(lambda chunk: cellwise.product_across(chunk, values, shift, self.bands, reach), self.rows)
        return self.product_along_first(values, reach, shift, end)

    def _without_shift(self, begin: Callable[[Chunk], tuple[Any, Any]], values: Any) -> tuple[float, float]:
        """Multiply along all axes but the first, while values are in cache; return the range of the values.

        Not numbers where the values of a chunk are such that they need a shift: then all have to begin again.
        """
        away: list[Chunk] = []

        def across(chunk: Chunk) -> tuple[float, float]:
            low, high = (0.0, 0.0) if away else map(float, begin(chunk))
            if not (high - low <= self.span and max(-low, high) <= self.span / 2):
                away.append(chunk)
            if not away:
                self.grid.cellwise.product_across(chunk, values, 0.0, self.bands, self.bands[0].reach(low, high))
            return low, high

        ends = self.grid.backend.map(across, self.rows)
        return self.grid.joined([(math.nan, math.nan)] if away else ends)

    def product_along_first(self, values: Any, reach: float, shift: float, end: End) -> list[Any]:
        """Multiply along the first axis what the other axes have done, and return what `end` makes of the chunks."""
        cellwise, band = self.grid.cellwise, self.bands[0]
        return self.grid.backend.map(
            lambda chunk: end(chunk, cellwise.product_down(chunk, values, band, reach), shift), self.columns
        )

    def log_product_along_first(self, log_values: Any) -> None:
        """Multiply along the first axis as `log_product_along` does."""
        self.log_product_along(0, log_values, self.columns)

    def log_product_along(self, axis: int, log_values: Any, chunks: Sequence[Chunk]) -> None:
        """Multiply along one axis in place, with one shift per line where the range of the lines allows it."""
        xp = self.grid.backend.xp

        def product(chunk: Chunk) -> None:
            if self.grid.cellwise.log_along(chunk, log_values, axis, self.bands[axis], self.span):
                return
            part = log_values[chunk.index]
            lines = xp.moveaxis(part, axis, -1)
            flat = self._blocked_log_product(axis, xp.reshape(lines, (-1, lines.shape[-1])))
            log_values[chunk.index] = xp.moveaxis(xp.reshape(flat, lines.shape), -1, axis)

        self.grid.backend.map(product, chunks)

    def _blocked_log_product(self, axis: int, lines: Any) -> Any:
        """Multiply along one axis for lines (m, n) of any range.

        Every pair of an input and an output block has a shift of its own. The result is checked: where a sum is
        so small beside its shift that flushed terms could matter, those lines are done again with narrower
        blocks; blocks of one cell are exact.
        """
        xp, n = self.grid.backend.xp, lines.shape[-1]
        steepest = float(xp.max(xp.abs(lines[:, 1:] - lines[:, :-1])))
        width = max(1, min(WIDEST_BLOCK, int(self.grid.backend.precision.block_span / max(steepest, 1e-300))))
        width = 2 ** int(math.log2(width))  # few widths, so that their matrices can be kept
        result = xp.empty_like(lines)
        rows = max(1, self.grid.backend.chunk // n)
        for start in range(0, lines.shape[0], rows):
            stop = min(start + rows, lines.shape[0])
            w = width
            values, margin = self.blocks(axis, w).log_product(lines[start:stop, :])
            while margin < 0 and w > 1:
                w //= 2
                values, margin = self.blocks(axis, w).log_product(lines[start:stop, :])
            result[start:stop, :] = values
        return result

    def blocks(self, axis: int, width: int) -> Blocks:
        """Return the kernel of an axis cut into blocks `width` cells wide, made where it is first needed."""
        if (axis, width) not in self._blocks:
            log_matrix = log_heat_kernel(self.grid.axes[axis], self.time)
            self._blocks[axis, width] = Blocks(log_matrix, width, self.grid.backend)
        return self._blocks[axis, width]
