"""Products with the heat kernel of a grid, in the log-domain and right to rounding in every cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.backends import Backend
from wfr_pde.numerics.cellwise import Piece
from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid
from wfr_pde.space.reductions import joined

BLOCK_ROWS = 32, 512  # least and most rows of a block of a band; half of the band's half width in between
WORTHWHILE = 0.7  # share of a matrix that its band may be for being worth the smaller products
STEP = 32  # nats by which bands are told apart
MARGIN = 10.0  # nats that mirror images and a narrow kernel may add to the exponent
LINES = 128  # that a product takes at a time, at least
WIDEST_BLOCK = 16  # cells
NEGLIGIBLE = 40.0  # nats below a sum at which an image is lost in rounding, e^-40 = 4e-18


Begin = Callable[[Piece], tuple[Any, Any]] | tuple[float, float]
End = Callable[[Piece, Any, float | None], Any]


def log_heat_kernel(axis: Axis, time: float, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
    """Logarithm of the heat kernel of u_t = u_xx on one axis, times the width of the source cell: (n, n), or a part.

    Entry (i, j) is log g(x_i, x_j; time) + log w_j, with all mirror images x + 2kL, 2a - x + 2kL at no-flux walls
    or all wraps x + kL, summed until they underflow relative to the nearest; for long times by the eigenfunctions
    of the axis, where a few terms suffice.
    """
    to, x, length = axis.offsets[rows, None], axis.offsets[columns], axis.length
    period = length if axis.periodic else 2 * length
    if time > period**2 / 16:
        log_g = _by_eigenfunctions(axis, to, x, time)
    else:
        distance = np.abs(to - x)
        if axis.periodic:
            distance = np.minimum(distance, length - distance)
        # images relative to the nearest one: the exponents are differences of squares, without cancellation
        relative = np.zeros_like(distance)
        for k in range(-_wraps(time, period), _wraps(time, period) + 1):
            shift = k * period
            relative += np.exp(-shift * (shift + 2 * distance) / (4 * time))
            if not axis.periodic:
                # the image at -x_j + shift: its squared distance exceeds the nearest one's by this
                a, b = to + x - shift, distance
                relative += np.exp(-(a - b) * (a + b) / (4 * time))
        log_g = -(distance**2) / (4 * time) + np.log(relative) - 0.5 * math.log(4 * math.pi * time)
    return log_g + np.log(axis.widths[columns])


def _wraps(time: float, period: float) -> int:
    """Number of wraps on each side beyond which images are below rounding: k (k - 1) period² / 4t > 40."""
    return math.ceil(0.5 + math.sqrt(0.25 + NEGLIGIBLE * 4 * time / period**2))


def _by_eigenfunctions(axis: Axis, to: np.ndarray, x: np.ndarray, time: float) -> np.ndarray:
    """The heat kernel by its cosines (and sines on a periodic axis)."""
    base = (2 if axis.periodic else 1) * math.pi / axis.length
    kernel = np.ones((len(to), len(x)))
    for k in range(1, 64):
        decay = math.exp(-((base * k) ** 2) * time)
        if decay < 1e-20:
            break
        product = np.cos(base * k * to) * np.cos(base * k * x)
        if axis.periodic:
            product += np.sin(base * k * to) * np.sin(base * k * x)
        kernel += 2 * decay * product
    return np.log(kernel / axis.length)


def product_along(matrix: Any, values: Any, axis: int, xp: Any) -> Any:
    """Product of `matrix` (m, n_axis) with `values` along one axis."""
    shape = values.shape
    if len(shape) == 2:
        return xp.matmul(matrix, values) if axis == 0 else xp.matmul(values, matrix.T)
    if axis == len(shape) - 1:
        lines = xp.reshape(values, (-1, shape[-1]))
        return xp.reshape(xp.matmul(lines, matrix.T), (*shape[:-1], matrix.shape[0]))
    # the axis next to last, with all later axes folded into one, is a (batched) matrix product
    folded = xp.reshape(values, (*shape[: axis + 1], math.prod(shape[axis + 1 :])))
    return xp.reshape(xp.matmul(matrix, folded), (*shape[:axis], matrix.shape[0], *shape[axis + 1 :]))


class Band:
    """The heat kernel of one axis as a matrix, of which a product takes the band that matters.

    Rows go in blocks; of each, columns are left out whose entries are all below e^-flush, and in a product those below
    what its values make negligible. Where the band is most of the matrix the product is an ordinary one.

    Parameters
    ----------
    axis : Axis
    time : float
    backend : Backend
    """

    def __init__(self, axis: Axis, time: float, backend: Backend) -> None:
        self.axis, self.n, self.xp, self.precision = axis, axis.n, backend.xp, backend.precision
        flush = self.precision.flush
        half_width = math.sqrt(4 * time * flush) * axis.n / axis.length
        height = int(min(max(half_width / 2, BLOCK_ROWS[0]), BLOCK_ROWS[1]))
        blocks: list[Any] = []  # rows, and per run of columns those and the entries
        self._largest = []  # logarithms of the largest entries in the rows, per column
        for start in range(0, axis.n, height):
            rows = slice(start, min(start + height, axis.n))
            near = _near(axis, time, rows, flush)
            log_rows = log_heat_kernel(axis, time, rows, near)
            largest = np.full(axis.n, -np.inf)
            largest[near] = log_rows.max(axis=0)
            log_rows[log_rows < -flush] = -np.inf
            runs = _runs(largest >= -flush)
            parts = [np.exp(log_rows[:, run.start - near.start : run.stop - near.start]) for run in runs]
            blocks.append((rows, list(zip(runs, parts, strict=True))))
            self._largest.append(largest)
        self.matrix: Any = None  # the whole, where the band is most of it
        if _share(blocks, axis.n) > WORTHWHILE:
            matrix = np.zeros((axis.n, axis.n))
            for rows, parts in blocks:
                for columns, entries in parts:
                    matrix[rows, columns] = entries
            self.matrix = backend.asarray(matrix)
            self._blocks = [(rows, [(slice(0, axis.n), self.matrix[rows, :])]) for rows, _ in blocks]
        else:
            self._blocks = [(rows, [(columns, backend.asarray(m)) for columns, m in parts]) for rows, parts in blocks]
        self._trimmed: dict[int, Any] = {}
        self._addresses: dict[tuple[int, bool], np.ndarray] = {}
        self._transposed: dict[int, np.ndarray] = {}  # of matrices by their identity

    def fits(self, axis: Axis) -> bool:
        """Whether it is the kernel of that axis, too."""
        return self.axis.periodic == axis.periodic and all(
            np.array_equal(a, b) for a, b in ((self.axis.offsets, axis.offsets), (self.axis.widths, axis.widths))
        )

    def reach(self, low: float, high: float) -> float:
        """How small entries of the kernel may matter, in nats below one, to values between these ends."""
        return high - low + self.precision.flush - self.precision.span

    def product(self, values: Any, axis: int, reach: float = math.inf) -> Any:
        """The product with `values` along an axis, where entries below e^-reach do not matter."""
        blocks = self._within(reach)
        if blocks is None:
            return product_along(self.matrix, values, axis, self.xp)
        result, before = self.xp.empty_like(values), (slice(None),) * axis
        for rows, parts in blocks:
            columns, matrix = parts[0]
            total = product_along(matrix, values[(*before, columns, ...)], axis, self.xp)
            for columns, matrix in parts[1:]:
                total += product_along(matrix, values[(*before, columns, ...)], axis, self.xp)
            result[(*before, rows, ...)] = total
        return result

    def addresses(self, reach: float, transposed: bool = False) -> np.ndarray:
        """The blocks of a product as `passes.compiled` takes them: (blocks, 7) integers; by columns if `transposed`."""
        key = self._rounded(reach), transposed
        if key not in self._addresses:
            table = []
            whole = [(slice(0, self.n), [(slice(0, self.n), self.matrix)])]
            kept = self._within(reach)
            for (rows, parts), (_, stored) in zip(*((kept, self._blocks) if kept else (whole, whole)), strict=True):
                for number, (columns, matrix) in enumerate(parts):
                    if transposed:
                        first, matrix = next(part for part in stored if part[0].stop >= columns.stop)
                        matrix = self._transposed.setdefault(id(matrix), np.ascontiguousarray(matrix.T))
                        matrix = matrix[columns.start - first.start :]
                    place = rows.start, rows.stop - rows.start, columns.start, columns.stop - columns.start
                    table.append((*place, matrix.ctypes.data, matrix.strides[0] // matrix.itemsize, number > 0))
            self._addresses[key] = np.array(table)
        return self._addresses[key]

    def operations(self, reach: float = math.inf) -> int:
        """Multiplications and additions of a product with one line."""
        blocks = self._within(reach)
        return 2 * round(self.n**2 * (1.0 if blocks is None else _share(blocks, self.n)))

    def _rounded(self, reach: float) -> int:
        """Bands are told apart in steps."""
        return math.ceil(min(reach, self.precision.flush) / STEP) * STEP

    def _within(self, reach: float) -> Any:
        """The blocks with the columns that have an entry of e^-reach, or None where the whole matrix is as well."""
        reach = self._rounded(reach)
        if reach not in self._trimmed:
            trimmed = []
            for (rows, parts), largest in zip(self._blocks, self._largest, strict=True):
                kept = []
                for columns, matrix in parts:
                    for run in _runs(largest[columns] >= -reach):
                        run_columns = slice(columns.start + run.start, columns.start + run.stop)
                        kept.append((run_columns, matrix[:, run]))
                trimmed.append((rows, kept))
            whole = self.matrix is not None and _share(trimmed, self.n) > WORTHWHILE
            self._trimmed[reach] = None if whole else trimmed
        return self._trimmed[reach]


def _near(axis: Axis, time: float, rows: slice, flush: float) -> slice:
    """Cells outside which the heat kernel is below e^-flush of all cells in some rows."""
    if axis.periodic or time > axis.length**2 / 4:
        return slice(0, axis.n)
    x, reach = axis.offsets, math.sqrt(4 * time * (flush + MARGIN))
    first, last = np.searchsorted(x, [x[rows.start] - reach, x[rows.stop - 1] + reach])
    return slice(int(first), int(last))


def _runs(wanted: np.ndarray) -> list[slice]:
    """Where a mask is true, as slices."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], wanted, [False]))))
    return [slice(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def _share(blocks: list[Any], n: int) -> float:
    """Share of an (n, n) matrix that some blocks are."""
    return sum(matrix.shape[0] * matrix.shape[1] for _, parts in blocks for _, matrix in parts) / n**2


class HeatKernel:
    """The heat kernel of a grid over a given time, as a product of one small matrix per axis.

    Parameters
    ----------
    grid : Grid
    time : float
        Diffusion time alpha dt of u_t = Laplace u.

    Attributes
    ----------
    bands : list of Band
        The matrix of every axis.
    rows, columns : lists of Piece
        Where products along all axes but the first are made at a time, and where that along the first.
    """

    def __init__(self, grid: Grid, time: float) -> None:
        self.grid, self.time, self.span = grid, time, grid.backend.precision.span
        self.bands: list[Band] = []
        for axis in grid.axes:
            twins = (band for band in self.bands if band.fits(axis))
            self.bands.append(next(twins, None) or Band(axis, time, grid.backend))
        self._blocks: dict[tuple[int, int], _Blocks] = {}
        cells = max(grid.backend.chunk, LINES * max(grid.shape))
        self.rows = grid.pieces(0, cells)
        self.columns = grid.pieces(1, cells) if grid.ndim > 1 else grid.pieces(0, grid.size)

    def log_product(
        self,
        log_values: Any,
        plus: Any = None,
        scale: float = 1.0,
        sign: float = 1.0,
        terms: Sequence[tuple[float, Any]] = (),
    ) -> Any:
        """sign log(G exp(scale log_values + plus)) + a x + b y, the logarithm right to rounding over any range.

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
        passes, result = self.grid.passes, self.grid.passes.empty(log_values)

        def begin(piece: Piece) -> tuple[Any, Any]:
            if plus is not None:
                return passes.add(piece, scale, log_values, plus, result)
            part = scale * log_values[piece.index]
            result[piece.index] = part
            return self.grid.backend.xp.min(part), self.grid.backend.xp.max(part)

        def end(piece: Piece, product: Any, shift: float | None) -> None:
            passes.log(piece, product, shift, sign, terms, result)

        self.apply(begin, result, end)
        return result

    def apply(self, begin: Begin, values: Any, end: End) -> list[Any]:
        """log(G exp(values)), from what puts the values there to what takes the result, both piece by piece.

        Parameters
        ----------
        begin : callable, or pair of numbers
            ``begin(piece)`` writes the values of a piece, and returns the smallest and the largest; maybe twice.
            Where the values are there already: their smallest and largest.
        values : array
            Where it writes to; this is where the product is made.
        end : callable
            ``end(piece, product, shift)`` gets log(product) + shift of a piece, or with a shift of None the logarithm
            as it is; it may write to `values`.

        Returns
        -------
        list
            What `end` returned.
        """
        passes, backend = self.grid.passes, self.grid.backend
        if callable(begin):
            ends = self._without_shift(begin, values)
            if ends is not None:
                return self._down(values, *ends, 0.0, end)
            low, high = joined(backend.map(begin, self.rows))
        else:
            low, high = begin
        if not math.isfinite(high - low):
            raise NumericalError(
                f"values from e^{low:.6g} to e^{high:.6g} have no product with the heat kernel: density or target "
                "are not finite in some cell; check the target's formula in the box, and the start"
            )
        if not high - low <= self.span:
            for axis in range(self.grid.ndim):
                self._log_product_along(axis, values)
            return backend.map(lambda piece: end(piece, values[piece.index], None), self.rows)
        shift, reach = 0.0 if max(-low, high) <= self.span / 2 else 0.5 * (low + high), self.bands[0].reach(low, high)
        backend.map(lambda piece: passes.across(piece, values, shift, self.bands, reach), self.rows)
        return self._down(values, low, high, shift, end)

    def _without_shift(self, begin: Callable[[Piece], tuple[Any, Any]], values: Any) -> tuple[float, float] | None:
        """Products along all axes but the first, of values while they are in cache, and their range.

        None where the values of a piece are such that they need a shift: then all have to begin again.
        """
        away: list[Piece] = []

        def across(piece: Piece) -> tuple[float, float]:
            low, high = (0.0, 0.0) if away else map(float, begin(piece))
            if not (high - low <= self.span and max(-low, high) <= self.span / 2):
                away.append(piece)
            if not away:
                self.grid.passes.across(piece, values, 0.0, self.bands, self.bands[0].reach(low, high))
            return low, high

        ends = self.grid.backend.map(across, self.rows)
        return None if away else joined(ends)

    def _down(self, values: Any, low: float, high: float, shift: float, end: End) -> list[Any]:
        """The product along the first axis."""
        passes, band, reach = self.grid.passes, self.bands[0], self.bands[0].reach(low, high)
        return self.grid.backend.map(
            lambda piece: end(piece, passes.down(piece, values, band, reach), shift), self.columns
        )

    def _log_product_along(self, axis: int, log_values: Any) -> None:
        """The product along one axis, in place: with one shift per line where the range of the lines allows it."""
        xp = self.grid.backend.xp

        def product(piece: Piece) -> None:
            if self.grid.passes.log_along(piece, log_values, axis, self.bands[axis], self.span):
                return
            part = log_values[piece.index]
            lines = xp.moveaxis(part, axis, -1)
            flat = self._blocked_log_product(axis, xp.reshape(lines, (-1, lines.shape[-1])))
            log_values[piece.index] = xp.moveaxis(xp.reshape(flat, lines.shape), -1, axis)

        self.grid.backend.map(product, self.columns if axis == 0 else self.rows)

    def _blocked_log_product(self, axis: int, lines: Any) -> Any:
        """The product along one axis for lines (m, n) of any range.

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

    def blocks(self, axis: int, width: int) -> _Blocks:
        """The kernel of an axis cut into blocks, made where it is first needed."""
        if (axis, width) not in self._blocks:
            log_matrix = log_heat_kernel(self.grid.axes[axis], self.time)
            self._blocks[axis, width] = _Blocks(log_matrix, width, self.grid.backend)
        return self._blocks[axis, width]


class _Blocks:
    """A log-kernel cut into square blocks `width` cells wide, each with its own shift."""

    def __init__(self, log_matrix: np.ndarray, width: int, backend: Any) -> None:
        self.xp, self.precision = backend.xp, backend.precision
        self.n, self.width = log_matrix.shape[0], width
        self.count = -(-self.n // width)
        padded = np.full((self.count * width, self.n), -np.inf)
        padded[: self.n] = log_matrix
        padded = padded.reshape(self.count, width, self.n)
        # per input block: its cells, the shifts per output block (count,), the scaled matrix (cells, rows)
        self.columns = []
        for start in range(0, self.n, width):
            cells = slice(start, min(start + width, self.n))
            shift = padded[:, :, cells].max(axis=(1, 2))
            scaled = padded[:, :, cells] - shift[:, None, None]
            matrix = np.exp(np.where(scaled < -self.precision.block_flush, -np.inf, scaled)).reshape(
                -1, scaled.shape[-1]
            )
            self.columns.append((cells, backend.asarray(shift), backend.asarray(np.ascontiguousarray(matrix.T))))

    def log_product(self, lines: Any) -> tuple[Any, float]:
        """The product for lines (m, n), and by how many nats every sum stays clear of flushed terms."""
        xp = self.xp
        columns = self.columns
        tops = [xp.max(lines[:, cells], axis=1) for cells, _, _ in columns]
        top = tops[0][:, None] + columns[0][1][None, :]
        for (_, shift, _), block_top in zip(columns[1:], tops[1:], strict=True):
            top = xp.maximum(top, block_top[:, None] + shift[None, :])
        m = lines.shape[0]
        total: Any = 0.0
        for (cells, shift, matrix), block_top in zip(columns, tops, strict=True):
            values = xp.exp(lines[:, cells] - block_top[:, None])
            exponent = block_top[:, None] + shift[None, :] - top
            scale = xp.exp(xp.where(exponent < -self.precision.block_flush, -xp.inf, exponent))
            part = xp.reshape(xp.matmul(values, matrix), (m, self.count, self.width))
            total = part * scale[:, :, None] + total
        total = xp.reshape(total, (m, -1))[:, : self.n]
        margin = -math.inf
        if float(xp.min(total)) > 0:
            margin = float(xp.log(xp.min(total))) + self.precision.block_flush - self.precision.negligible
            spread = xp.repeat(top, self.width, axis=1)[:, : self.n]
            total = xp.log(total) + spread
        return total, margin
