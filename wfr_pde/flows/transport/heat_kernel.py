"""Products with the heat kernel of a grid, in the log-domain and right to rounding in every cell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wfr_pde.axis import Axis
from wfr_pde.grid import Grid

# One shift serves values over this many nats. Entries of the kernel below e^-FLUSH are set to zero: relative to
# the smallest value they are e^(RANGE - FLUSH) = e^-50, and no product comes near the subnormal numbers (e^-708),
# which would slow the product several times.
PLAIN_RANGE = 430.0
FLUSH = 480.0

WIDEST_BLOCK = 16  # cells
BLOCK_RANGE = 200.0  # nats that the values may span inside a block
BLOCK_FLUSH = 500.0
NEGLIGIBLE = 40.0  # nats below a sum at which a term is lost in rounding, e^-40 = 4e-18


def log_heat_kernel(axis: Axis, time: float) -> np.ndarray:
    """Logarithm of the heat kernel of u_t = u_xx on one axis, times the width of the source cell: (n, n).

    Entry (i, j) is log g(x_i, x_j; time) + log w_j, with all mirror images x + 2kL, 2a - x + 2kL at no-flux walls
    or all wraps x + kL, summed until they underflow relative to the nearest; for long times by the eigenfunctions
    of the axis, where a few terms suffice.
    """
    x, length = axis.offsets, axis.length
    period = length if axis.periodic else 2 * length
    if time > period**2 / 16:
        log_g = _by_eigenfunctions(axis, x, time)
    else:
        distance = np.abs(x[:, None] - x[None, :])
        if axis.periodic:
            distance = np.minimum(distance, length - distance)
        # images relative to the nearest one: the exponents are differences of squares, without cancellation
        relative = np.zeros_like(distance)
        for k in range(-_wraps(time, period), _wraps(time, period) + 1):
            shift = k * period
            relative += np.exp(-shift * (shift + 2 * distance) / (4 * time))
            if not axis.periodic:
                # the image at -x_j + shift: its squared distance exceeds the nearest one's by this
                a, b = x[:, None] + x[None, :] - shift, distance
                relative += np.exp(-(a - b) * (a + b) / (4 * time))
        log_g = -(distance**2) / (4 * time) + np.log(relative) - 0.5 * math.log(4 * math.pi * time)
    return log_g + np.log(axis.widths)


def _wraps(time: float, period: float) -> int:
    """Number of wraps on each side beyond which images are below rounding: k (k - 1) period² / 4t > 40."""
    return math.ceil(0.5 + math.sqrt(0.25 + NEGLIGIBLE * 4 * time / period**2))


def _by_eigenfunctions(axis: Axis, x: np.ndarray, time: float) -> np.ndarray:
    """The heat kernel by its cosines (and sines on a periodic axis)."""
    base = (2 if axis.periodic else 1) * math.pi / axis.length
    kernel = np.ones((axis.n, axis.n))
    for k in range(1, 64):
        decay = math.exp(-((base * k) ** 2) * time)
        if decay < 1e-20:
            break
        cosine, sine = np.cos(base * k * x), np.sin(base * k * x)
        product = np.outer(cosine, cosine) + (np.outer(sine, sine) if axis.periodic else 0.0)
        kernel += 2 * decay * product
    return np.log(kernel / axis.length)


class HeatKernel:
    """The heat kernel of a grid over a given time, as a product of one small matrix per axis.

    Parameters
    ----------
    grid : Grid
    time : float
        Diffusion time alpha dt of u_t = Laplace u.
    """

    def __init__(self, grid: Grid, time: float) -> None:
        self.grid, self.time = grid, time
        self.matrices = [
            grid.backend.asarray(np.exp(np.where(log_matrix < -FLUSH, -np.inf, log_matrix)))
            for log_matrix in (log_heat_kernel(axis, time) for axis in grid.axes)
        ]
        self._blocks: dict[tuple[int, int], _Blocks] = {}

    def log_product(self, log_values: Any) -> Any:
        """log(G exp(log_values)), right to rounding in every cell whatever the range; overwrites `log_values`.

        One shift and plain matrix products where the range allows it; else axis by axis, with one shift per line or,
        where a line spans too much, per block.
        """
        grid, xp = self.grid, self.grid.backend.xp
        low, high = grid.min(log_values), grid.max(log_values)
        if float(high - low) <= PLAIN_RANGE:
            middle = 0.5 * (low + high)
            values = grid.in_place(lambda values: xp.exp(values - middle), log_values)
            del log_values  # so that every product frees what it was made of
            for axis, matrix in enumerate(self.matrices):
                values = grid.apply(matrix, values, axis)
            return grid.in_place(lambda values: xp.log(values) + middle, values)
        for axis in range(grid.ndim):
            log_values = self._log_product_along(axis, log_values)
        return log_values

    def _log_product_along(self, axis: int, log_values: Any) -> Any:
        """The product along one axis, with one shift per line where the range of each line allows it."""
        xp = self.grid.backend.xp
        low = xp.min(log_values, axis=axis, keepdims=True)
        high = xp.max(log_values, axis=axis, keepdims=True)
        if float(self.grid.max(high - low)) <= PLAIN_RANGE:
            middle = 0.5 * (low + high)
            return xp.log(self.grid.apply(self.matrices[axis], xp.exp(log_values - middle), axis)) + middle
        lines = xp.moveaxis(log_values, axis, -1)
        flat = self._blocked_log_product(axis, xp.reshape(lines, (-1, lines.shape[-1])))
        return xp.moveaxis(xp.reshape(flat, lines.shape), -1, axis)

    def _blocked_log_product(self, axis: int, lines: Any) -> Any:
        """The product along one axis for lines (m, n) of any range.

        Every pair of an input and an output block has a shift of its own. The result is checked: where a sum is
        so small beside its shift that flushed terms could matter, those lines are done again with narrower
        blocks; blocks of one cell are exact.
        """
        xp, n = self.grid.backend.xp, lines.shape[-1]
        steepest = float(xp.max(xp.abs(lines[:, 1:] - lines[:, :-1])))
        width = max(1, min(WIDEST_BLOCK, int(BLOCK_RANGE / max(steepest, 1e-300))))
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
        self.xp, self.n, self.width = backend.xp, log_matrix.shape[0], width
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
            matrix = np.exp(np.where(scaled < -BLOCK_FLUSH, -np.inf, scaled)).reshape(-1, scaled.shape[-1])
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
            scale = xp.exp(xp.where(exponent < -BLOCK_FLUSH, -xp.inf, exponent))
            part = xp.reshape(xp.matmul(values, matrix), (m, self.count, self.width))
            total = part * scale[:, :, None] + total
        total = xp.reshape(total, (m, -1))[:, : self.n]
        margin = -math.inf
        if float(xp.min(total)) > 0:
            margin = float(xp.log(xp.min(total))) + BLOCK_FLUSH - NEGLIGIBLE
            spread = xp.repeat(top, self.width, axis=1)[:, : self.n]
            total = xp.log(total) + spread
        return total, margin
