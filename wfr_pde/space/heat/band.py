"""The heat kernel of one axis as a band matrix, of which a product takes what matters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wfr_pde.numerics.backends import Backend
from wfr_pde.numerics.matrix_products import product_along
from wfr_pde.space.axis import Axis
from wfr_pde.space.heat.kernel_of_axis import log_heat_kernel

BLOCK_ROWS = 32, 512  # least and most rows of a block of a band; half of the band's half width in between
MAX_BAND_SHARE = 0.7  # share of a matrix that its band may be for being worth the smaller products
REACH_STEP = 32  # nats by which bands are told apart: fewer steps are fewer bands in memory, and wider ones
EXPONENT_MARGIN = 10.0  # nats that mirror images and a narrow kernel may add to the exponent


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
        if _share(blocks, axis.n) > MAX_BAND_SHARE:
            matrix = np.zeros((axis.n, axis.n))
            for rows, parts in blocks:
                for columns, entries in parts:
                    matrix[rows, columns] = entries
            self.matrix = backend.read_only(backend.asarray(matrix))
            self._blocks = [(rows, [(slice(0, axis.n), self.matrix[rows, :])]) for rows, _ in blocks]
        else:
            self._blocks = [
                (rows, [(columns, backend.read_only(backend.asarray(matrix))) for columns, matrix in parts])
                for rows, parts in blocks
            ]
        self._trimmed: dict[int, Any] = {}
        self._addresses: dict[tuple[int, bool], np.ndarray] = {}
        self._transposed: dict[int, np.ndarray] = {}  # of matrices by their identity

    def fits(self, axis: Axis) -> bool:
        """Return whether the band is the kernel of another axis, too."""
        return self.axis.periodic == axis.periodic and all(
            np.array_equal(a, b) for a, b in ((self.axis.offsets, axis.offsets), (self.axis.widths, axis.widths))
        )

    def reach(self, low: float, high: float) -> float:
        """Return how many nats below one entries of the kernel matter, for values from `low` to `high`."""
        return high - low + self.precision.flush - self.precision.span

    def product(self, values: Any, axis: int, reach: float = math.inf) -> Any:
        """Multiply `values` along an axis by the kernel, without entries below e^-reach."""
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
        """Return the blocks of a product, or by columns, as the compiled loops take them: (blocks, 7) integers."""
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
        """Count the multiplications and additions of a product with one line."""
        blocks = self._within(reach)
        return 2 * round(self.n**2 * (1.0 if blocks is None else _share(blocks, self.n)))

    def _rounded(self, reach: float) -> int:
        """Round a reach up to one of few steps, so that few bands are kept."""
        return math.ceil(min(reach, self.precision.flush) / REACH_STEP) * REACH_STEP

    def _within(self, reach: float) -> Any:
        """Return the blocks, with the columns that have an entry above e^-reach; None where the matrix is as good."""
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
            whole = self.matrix is not None and _share(trimmed, self.n) > MAX_BAND_SHARE
            self._trimmed[reach] = None if whole else trimmed
        return self._trimmed[reach]


def _near(axis: Axis, time: float, rows: slice, flush: float) -> slice:
    """Return a slice of the cells from which the heat kernel to some rows is above e^-flush."""
    if axis.periodic or time > axis.length**2 / 4:
        return slice(0, axis.n)
    x, reach = axis.offsets, math.sqrt(4 * time * (flush + EXPONENT_MARGIN))
    first, last = np.searchsorted(x, [x[rows.start] - reach, x[rows.stop - 1] + reach])
    return slice(int(first), int(last))


def _runs(wanted: np.ndarray) -> list[slice]:
    """Return the slices where a mask is true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], wanted, [False]))))
    return [slice(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def _share(blocks: list[Any], n: int) -> float:
    """Return the share of an (n, n) matrix that some blocks cover."""
    return sum(matrix.shape[0] * matrix.shape[1] for _, parts in blocks for _, matrix in parts) / n**2
