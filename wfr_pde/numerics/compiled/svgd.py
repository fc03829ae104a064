"""The pair sums of `SVGD`, compiled, in memory O(n)."""

from __future__ import annotations

import numba
import numpy as np

from wfr_pde.numerics.compiled.inputs import contiguous
from wfr_pde.numerics.compiled.pair_sums import TILE, by_rows, exponential, in_blocks, squares
from wfr_pde.numerics.typing import Array


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _add(x, kernels, n, blocks, precision, total):  # type: ignore
    """Compute total += Σ_j K_j [s_j + precision (x - y_j)] over a block of sources and their scores."""
    sources, scores = blocks
    for k in range(len(x)):
        here, own = 0.0, x[k]
        for j in range(n):
            here += kernels[j] * (scores[k, j] + precision * (own - sources[k, j]))
        total[k] += here


@numba.njit(cache=True, nogil=True)
def _rows(start, stop, x, blocks, score_blocks, precision, result):  # type: ignore
    size, m = blocks.shape[2], len(x)
    e, t, kernels = np.empty(size), np.empty(size), np.empty(size)
    for tile in range(start, stop, TILE):  # every row in a fixed order: the same bits for any number of threads
        last = min(tile + TILE, stop)
        result[tile:last] = 0.0
        for b in range(len(blocks)):
            n = min(size, m - b * size)
            for i in range(tile, last):
                squares(x[i], blocks[b], n, e)
                for j in range(n):
                    e[j] *= -0.5 * precision
                exponential(e, 0.0, n, t, kernels)
                _add(x[i], kernels, n, (blocks[b], score_blocks[b]), precision, result[i])
        result[tile:last] /= m


def stein_directions(positions: Array, scores: Array, bandwidth: float) -> Array:
    """Compute 1/n Σ_j exp(-|x_i - x_j|² / (2 bandwidth²)) [s_j + (x_i - x_j) / bandwidth²] for x, s of shape (n, d)."""
    x = contiguous(positions)
    result = np.empty_like(x)
    blocks, score_blocks = in_blocks(x), in_blocks(contiguous(scores))
    by_rows(_rows, len(x), len(x), x, blocks, score_blocks, 1 / bandwidth**2, result)
    return result
