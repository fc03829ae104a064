"""The pair sums of `SVGD`, compiled, in memory O(n)."""

from __future__ import annotations

import math

import numba
import numpy as np

from wfr_pde.numerics.compiled.inputs import contiguous
from wfr_pde.numerics.compiled.row_threads import share_rows
from wfr_pde.numerics.typing import Array

PARALLEL_FROM = 1_000_000  # pairs, as in `pair_sums`


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _row(x, scores, half_precision, i, result):  # type: ignore
    n, d = x.shape
    total = np.zeros(d)
    for j in range(n):
        square = 0.0
        for k in range(d):
            square += (x[i, k] - x[j, k]) ** 2
        kernel = math.exp(-half_precision * square)
        for k in range(d):
            total[k] += kernel * (scores[j, k] + 2 * half_precision * (x[i, k] - x[j, k]))
    for k in range(d):
        result[i, k] = total[k] / n


@numba.njit(cache=True, nogil=True)
def _rows(start, stop, x, scores, half_precision, result):  # type: ignore
    for i in range(start, stop):  # every row in a fixed order: the same bits for any number of threads
        _row(x, scores, half_precision, i, result)


def stein_directions(positions: Array, scores: Array, bandwidth: float) -> Array:
    """Compute 1/n Σ_j exp(-|x_i - x_j|² / (2 bandwidth²)) [s_j + (x_i - x_j) / bandwidth²] for x, s of shape (n, d)."""
    x = contiguous(positions)
    result = np.empty_like(x)
    arguments = x, contiguous(scores), 0.5 / bandwidth**2, result
    if len(x) ** 2 < PARALLEL_FROM:
        _rows(0, len(x), *arguments)
    else:
        share_rows(_rows, len(x), *arguments)
    return result
