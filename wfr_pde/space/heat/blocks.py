"""A log-kernel in blocks with a shift each, for products of values of any range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class Blocks:
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
        """Return log of the product for lines (m, n), and by how many nats every sum stays clear of flushed terms."""
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
