"""Sums over all pairs of two sets of points, compiled, in memory O(n): Gaussian and Laplace kernels, distances, Stein.

Every row is summed by one thread in a fixed order, so that results do not depend on the number of threads. The
exponential is a polynomial of degree 12 on [-1/2, 1/2] times a power of two, in loops that vectorise: 2 ulp.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from wfr_pde.numerics.compiled.inputs import contiguous
from wfr_pde.numerics.compiled.row_threads import share_rows
from wfr_pde.numerics.typing import Array

BLOCK = 1024  # sources at a time: the buffers fit into the first cache
NEGLIGIBLE = -50.0  # logarithm of a term beside the largest so far, below which a block is passed over
PARALLEL_FROM = 1_000_000  # pairs, some milliseconds of one thread, from which others are worth their start
GAUSSIAN, LAPLACE, DISTANCE = 0, 1, 2  # kinds of kernels, as compiled loops know them
LOG2_E, LOWEST = 1.4426950408889634, -1000.0  # 1 / log 2; exponent of two that smaller ones are taken for
MAGIC = 1.5 * 2.0**52  # x + MAGIC has round(x) in its last bits
POWERS = tuple(math.log(2) ** k / math.factorial(k) for k in range(13))  # of 2^x, |x| <= 1/2: up to 2e-16

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
    """Compute e_j ← e_j - half_precision |x - y_j|²."""
    for k in range(len(x)):
        for j in range(n):
            gap = x[k] - sources[k, first + j]
            e[j] -= half_precision * gap * gap


@jit
def _exponential(e: Array, top: float, n: int, t: Array, powers: Array) -> None:
    """Compute powers ← exp(e - top), for e <= top; below e^-693 a tiny number."""
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
    start: int, stop: int, at: Array, sources: Array, log_weights: Array, half_precision: float, leave_out: Any,
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
def _distances(x: Array, sources: Array, first: int, n: int, scale: float, e: Array) -> None:
    """Compute e_j ← scale |x - y_j|."""
    for j in range(n):
        e[j] = 0.0
    _exponents(x, sources, first, n, -1.0, e)
    for j in range(n):
        e[j] = scale * np.sqrt(e[j])


@jit
def _rows(
    start: int, stop: int, at: Array, sources: Array, weights: Array, kind: int, scale: float, result: Array
) -> None:
    e, t, powers = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    m = len(weights)
    for i in range(start, stop):
        total = 0.0
        for first in range(0, m, BLOCK):
            n = min(BLOCK, m - first)
            if kind == GAUSSIAN:
                e[:n] = 0.0
                _exponents(at[i], sources, first, n, scale, e)
            else:
                _distances(at[i], sources, first, n, scale, e)
            if kind == DISTANCE:
                total += _dot(e, weights, first, n)
            else:
                _exponential(e, 0.0, n, t, powers)
                total += _dot(powers, weights, first, n)
        result[i] = total


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _stein_block(
    x: Array, score: Array, sources: Array, scores: Array, weights: Array, first: int, n: int,
    length: float, power: float, buffers: Array,
) -> float:  # fmt: skip
    """Compute Σ_j w_j k_0(x, y_j) over a block of sources."""
    squares, products, slopes = buffers[0], buffers[1], buffers[2]
    for j in range(n):
        squares[j] = products[j] = slopes[j] = 0.0
    d = len(x)
    for k in range(d):
        for j in range(n):
            gap, other = x[k] - sources[k, first + j], scores[k, first + j]
            squares[j] += gap * gap
            products[j] += score[k] * other
            slopes[j] += (other - score[k]) * gap
    total = 0.0
    for j in range(n):
        base = length * length + squares[j]
        kernel = 1.0 / np.sqrt(base) if power == -0.5 else base**power
        one = 2.0 * power * kernel / base
        two = 2.0 * (power - 1.0) * one / base
        total += weights[first + j] * (products[j] * kernel + slopes[j] * one - d * one - squares[j] * two)
    return total


@jit
def _stein_rows(
    start: int, stop: int, positions: Array, scores: Array, sources: Array, source_scores: Array, weights: Array,
    length: float, power: float, result: Array,
) -> None:  # fmt: skip
    buffers = np.empty((3, BLOCK))
    m = len(weights)
    for i in range(start, stop):
        total = 0.0
        for first in range(0, m, BLOCK):
            total += _stein_block(
                positions[i], scores[i], sources, source_scores, weights, first, min(BLOCK, m - first),
                length, power, buffers,
            )  # fmt: skip
        result[i] = total


def log_kernel_sums(
    at: Array, sources: Array, log_weights: Array, variance: float, leave_out: np.ndarray | None = None
) -> Array:
    """Compute log Σ_j w_j exp(-|x_i - y_j|² / (2 variance)), however far the points are from each other.

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
    x, y = contiguous(at), contiguous(np.transpose(sources))
    weights = contiguous(log_weights)
    skipped = contiguous(np.full(len(x), -1) if leave_out is None else leave_out, np.int64)
    result = np.empty(len(x))
    _by_rows(_log_rows, len(x), len(weights), x, y, weights, 0.5 / variance, skipped, result)
    return result


def kernel_sums(at: Array, sources: Array, weights: Array, variance: float) -> Array:
    """Compute Σ_j w_j exp(-|x_i - y_j|² / (2 variance)), shape (n,), for weights of any sign.

    Arguments are those of `log_kernel_sums`, with weights in place of their logarithms.
    """
    return _sums(at, sources, weights, GAUSSIAN, 0.5 / variance)


def laplace_sums(at: Array, sources: Array, weights: Array, scale: float) -> Array:
    """Compute Σ_j w_j exp(-|x_i - y_j| / scale), shape (n,), for weights of any sign; see `kernel_sums`."""
    return _sums(at, sources, weights, LAPLACE, -1.0 / scale)


def distance_sums(at: Array, sources: Array, weights: Array) -> Array:
    """Compute Σ_j w_j |x_i - y_j|, shape (n,), for weights of any sign; see `kernel_sums`."""
    return _sums(at, sources, weights, DISTANCE, 1.0)


def stein_sums(positions: Array, scores: Array, weights: Array, length: float, power: float) -> Array:
    """Compute Σ_j w_j k_0(x_i, x_j) of the Stein kernel of k = (length² + |x - y|²)^power.

    k_0(x, y) = s(x)·s(y) k + s(x)·∇_y k + s(y)·∇_x k + ∇_x·∇_y k, s the score of the target (Gorham and Mackey 2017,
    arXiv:1703.01717).

    Parameters
    ----------
    positions, scores : array (n, d)
        The x_i, and s there.
    weights : array (n,)
    length, power : float

    Returns
    -------
    array (n,)
    """
    x, s = contiguous(positions), contiguous(scores)
    own = contiguous(weights)
    across, s_across = contiguous(x.T), contiguous(s.T)
    result = np.empty(len(x))
    _by_rows(_stein_rows, len(x), len(x), x, s, across, s_across, own, float(length), float(power), result)
    return result


def _sums(at: Array, sources: Array, weights: Array, kind: int, scale: float) -> Array:
    x, y = contiguous(at), contiguous(np.transpose(sources))
    own = contiguous(weights)
    result = np.empty(len(x))
    _by_rows(_rows, len(x), len(own), x, y, own, kind, scale, result)
    return result


def _by_rows(loop: Callable[..., Any], n: int, m: int, *arguments: Any) -> None:
    """Call a loop over n rows of m pairs, by threads where they are worth their start."""
    if n * m < PARALLEL_FROM:
        loop(0, n, *arguments)
    else:
        share_rows(loop, n, *arguments)
