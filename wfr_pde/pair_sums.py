"""Sums of a Gaussian kernel over all pairs of two sets of points, compiled, in memory O(n).

Every row is summed by one thread in a fixed order, so that results do not depend on the number of threads. The
exponential is a polynomial of degree 12 on [-1/2, 1/2] times a power of two, in loops that vectorise: 2 ulp.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

BLOCK = 1024  # sources at a time: the buffers fit into the first cache
NEGLIGIBLE = -50.0  # logarithm of a term beside the largest so far, below which a block is passed over
PARALLEL_FROM = 1_000_000  # pairs
LOG2_E, LOWEST = 1.4426950408889634, -1000.0
MAGIC = 1.5 * 2.0**52  # x + MAGIC has round(x) in its last bits
POWERS = tuple(math.log(2) ** k / math.factorial(k) for k in range(13))  # of 2^x

jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _sum(values: Array, n: int) -> float:
    total = 0.0
    for j in range(n):
        total += values[j]
    return total


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _dot(values: Array, weights: Array, first: int, n: int) -> float:
    total = 0.0
    for j in range(n):
        total += values[j] * weights[first + j]
    return total


@jit
def _exponents(x: Array, sources: Array, first: int, n: int, half_precision: float, e: Array) -> None:
    """e_j ← e_j - half_precision |x - y_j|²."""
    for k in range(len(x)):
        for j in range(n):
            gap = x[k] - sources[k, first + j]
            e[j] -= half_precision * gap * gap


@jit
def _exponential(e: Array, top: float, n: int, t: Array, powers: Array) -> None:
    """powers ← exp(e - top), for e <= top; below e^-693 a tiny number."""
    bits, t_bits = powers.view(np.int64), t.view(np.int64)
    for j in range(n):
        z = max((e[j] - top) * LOG2_E, LOWEST)
        t[j] = z + MAGIC
        r = z - (t[j] - MAGIC)
        p = POWERS[12]
        p = p * r + POWERS[11]
        p = p * r + POWERS[10]
        p = p * r + POWERS[9]
        p = p * r + POWERS[8]
        p = p * r + POWERS[7]
        p = p * r + POWERS[6]
        p = p * r + POWERS[5]
        p = p * r + POWERS[4]
        p = p * r + POWERS[3]
        p = p * r + POWERS[2]
        p = p * r + POWERS[1]
        powers[j] = p * r + POWERS[0]
    for j in range(n):
        bits[j] += t_bits[j] << 52


@jit
def _log_rows(
    at: Array, sources: Array, log_weights: Array, half_precision: float, leave_out: Any, start: int, stop: int,
    result: Array,
) -> None:  # fmt: skip
    e, t, powers = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    m = len(log_weights)
    for i in range(start, stop):
        top, total = -np.inf, 0.0
        for first in range(0, m, BLOCK):
            n = min(BLOCK, m - first)
            for j in range(n):
                e[j] = log_weights[first + j]
            _exponents(at[i], sources, first, n, half_precision, e)
            if first <= leave_out[i] < first + n:
                e[leave_out[i] - first] = -np.inf
            highest = -np.inf
            for j in range(n):
                highest = max(highest, e[j])
            if highest == -np.inf or highest - top < NEGLIGIBLE:
                continue
            if highest > top:
                total *= np.exp(top - highest) if total > 0.0 else 0.0
                top = highest
            _exponential(e, top, n, t, powers)
            total += _sum(powers, n)
        result[i] = top + np.log(total)


@jit
def _rows(
    at: Array, sources: Array, weights: Array, half_precision: float, start: int, stop: int, result: Array
) -> None:
    e, t, powers = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    m = len(weights)
    for i in range(start, stop):
        total = 0.0
        for first in range(0, m, BLOCK):
            n = min(BLOCK, m - first)
            e[:n] = 0.0
            _exponents(at[i], sources, first, n, half_precision, e)
            _exponential(e, 0.0, n, t, powers)
            total += _dot(powers, weights, first, n)
        result[i] = total


@numba.njit(cache=True, nogil=True, parallel=True)
def _log_rows_in_parallel(at, sources, log_weights, half_precision, leave_out, parts, result):  # type: ignore
    n = len(result)
    for part in numba.prange(parts):
        start, stop = part * n // parts, (part + 1) * n // parts
        _log_rows(at, sources, log_weights, half_precision, leave_out, start, stop, result)


@numba.njit(cache=True, nogil=True, parallel=True)
def _rows_in_parallel(at, sources, weights, half_precision, parts, result):  # type: ignore
    n = len(result)
    for part in numba.prange(parts):
        start, stop = part * n // parts, (part + 1) * n // parts
        _rows(at, sources, weights, half_precision, start, stop, result)


def log_kernel_sums(
    at: Array, sources: Array, log_weights: Array, variance: float, leave_out: np.ndarray | None = None
) -> Array:
    """log Σ_j w_j exp(-|x_i - y_j|² / (2 variance)), however far the points are from each other.

    Parameters
    ----------
    at : array (n, d)
        The x_i.
    sources : array (m, d)
        The y_j.
    log_weights : array (m,)
        log w_j; may be -inf.
    variance : float
    leave_out : array of int (n,), optional
        Number of a source that row i is summed without.

    Returns
    -------
    array (n,)
        -inf where nothing is summed.
    """
    x, y = np.ascontiguousarray(at, dtype=np.float64), np.ascontiguousarray(np.transpose(sources), dtype=np.float64)
    weights = np.ascontiguousarray(log_weights, dtype=np.float64)
    skipped = np.full(len(x), -1) if leave_out is None else np.ascontiguousarray(leave_out, dtype=np.int64)
    result = np.empty(len(x))
    if len(x) * len(weights) < PARALLEL_FROM:
        _log_rows(x, y, weights, 0.5 / variance, skipped, 0, len(x), result)
    else:
        _log_rows_in_parallel(x, y, weights, 0.5 / variance, skipped, _parts(len(x)), result)
    return result


def kernel_sums(at: Array, sources: Array, weights: Array, variance: float) -> Array:
    """Σ_j w_j exp(-|x_i - y_j|² / (2 variance)), shape (n,), weights of any sign; arguments as `log_kernel_sums`."""
    x, y = np.ascontiguousarray(at, dtype=np.float64), np.ascontiguousarray(np.transpose(sources), dtype=np.float64)
    own = np.ascontiguousarray(weights, dtype=np.float64)
    result = np.empty(len(x))
    if len(x) * len(own) < PARALLEL_FROM:
        _rows(x, y, own, 0.5 / variance, 0, len(x), result)
    else:
        _rows_in_parallel(x, y, own, 0.5 / variance, _parts(len(x)), result)
    return result


def _parts(rows: int) -> int:
    """Shares of the rows for the threads."""
    return int(min(rows, 8 * numba.get_num_threads()))
