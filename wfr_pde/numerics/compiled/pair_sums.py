"""Sums over all pairs of two sets of points, compiled, in memory O(n): Gaussian and Laplace kernels, distances, Stein.

Every row is summed by one thread in a fixed order, so that results do not depend on the number of threads. Sources come
in blocks, each of which some rows go through while it is in a cache: in 100 dimensions that is twelve times as fast as
row by row. The exponential is a polynomial of degree 12 on [-1/2, 1/2] times a power of two, in loops that vectorise:
2 ulp.
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

BLOCK, SMALLEST = 1024, 128  # sources at a time, in few and in many dimensions: the buffers fit into the first cache
NUMBERS = 2**15  # most numbers of a block, where it has more than the smallest number of sources: a second cache
TILE = 32  # rows that go through a block together
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
def squares(x: Array, sources: Array, n: int, result: Array) -> None:
    """Compute result_j ← |x - y_j|², j < n, for sources (d, n)."""
    for j in range(n):
        result[j] = 0.0
    d = len(x)
    whole = d - d % 4
    for k in range(0, whole, 4):
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        for j in range(n):  # four axes at a time, as loading and storing the result takes longer than an axis
            g0, g1, g2, g3 = x0 - sources[k, j], x1 - sources[k + 1, j], x2 - sources[k + 2, j], x3 - sources[k + 3, j]
            result[j] += g0 * g0 + g1 * g1 + (g2 * g2 + g3 * g3)
    for k in range(whole, d):
        for j in range(n):
            gap = x[k] - sources[k, j]
            result[j] += gap * gap


@jit
def exponential(e: Array, top: float, n: int, t: Array, powers: Array) -> None:
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
    start: int, stop: int, at: Array, blocks: Array, log_weights: Array, half_precision: float, leave_out: Any,
    result: Array,
) -> None:  # fmt: skip
    size, m = blocks.shape[2], len(log_weights)
    e, t, powers = np.empty(size), np.empty(size), np.empty(size)
    tops, totals = np.empty(TILE), np.empty(TILE)
    for tile in range(start, stop, TILE):
        rows = min(TILE, stop - tile)
        tops[:], totals[:] = -np.inf, 0.0
        for b in range(len(blocks)):
            first = b * size
            n = min(size, m - first)
            for r in range(rows):
                squares(at[tile + r], blocks[b], n, e)
                for j in range(n):
                    e[j] = log_weights[first + j] - half_precision * e[j]
                if first <= leave_out[tile + r] < first + n:
                    e[leave_out[tile + r] - first] = -np.inf
                highest = -np.inf
                for j in range(n):
                    highest = max(highest, e[j])
                if highest == -np.inf or highest - tops[r] < NEGLIGIBLE:
                    continue
                if highest > tops[r]:
                    totals[r] *= np.exp(tops[r] - highest) if totals[r] > 0.0 else 0.0
                    tops[r] = highest
                exponential(e, tops[r], n, t, powers)
                totals[r] += _sum(powers, n)
        for r in range(rows):
            result[tile + r] = tops[r] + np.log(totals[r])


@jit
def _rows(
    start: int, stop: int, at: Array, blocks: Array, weights: Array, kind: int, scale: float, result: Array
) -> None:
    size, m = blocks.shape[2], len(weights)
    e, t, powers = np.empty(size), np.empty(size), np.empty(size)
    for tile in range(start, stop, TILE):
        result[tile : min(tile + TILE, stop)] = 0.0
        for b in range(len(blocks)):
            first = b * size
            n = min(size, m - first)
            for i in range(tile, min(tile + TILE, stop)):
                squares(at[i], blocks[b], n, e)
                for j in range(n):
                    e[j] = -scale * e[j] if kind == GAUSSIAN else scale * np.sqrt(e[j])
                if kind == DISTANCE:
                    result[i] += _dot(e, weights, first, n)
                else:
                    exponential(e, 0.0, n, t, powers)
                    result[i] += _dot(powers, weights, first, n)


@jit
def _stein_slopes(x: Array, score: Array, sources: Array, scores: Array, n: int, buffers: Array) -> None:
    """Compute s(x)·s(y_j) and (s(y_j) - s(x))·(x - y_j), two axes at a time."""
    products, slopes = buffers[1], buffers[2]
    for j in range(n):
        products[j] = slopes[j] = 0.0
    d = len(x)
    for k in range(0, d - d % 2, 2):
        x0, x1, s0, s1 = x[k], x[k + 1], score[k], score[k + 1]
        for j in range(n):
            o0, o1 = scores[k, j], scores[k + 1, j]
            products[j] += s0 * o0 + s1 * o1
            slopes[j] += (o0 - s0) * (x0 - sources[k, j]) + (o1 - s1) * (x1 - sources[k + 1, j])
    if d % 2:
        x0, s0 = x[d - 1], score[d - 1]
        for j in range(n):
            products[j] += s0 * scores[d - 1, j]
            slopes[j] += (scores[d - 1, j] - s0) * (x0 - sources[d - 1, j])


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _stein_block(
    weights: Array, first: int, n: int, d: int, length: float, power: float, buffers: Array
) -> float:  # fmt: skip
    """Compute Σ_j w_j k_0(x, y_j) over a block of sources."""
    square, products, slopes = buffers[0], buffers[1], buffers[2]
    total = 0.0
    for j in range(n):
        base = length * length + square[j]
        kernel = 1.0 / np.sqrt(base) if power == -0.5 else base**power
        one = 2.0 * power * kernel / base
        two = 2.0 * (power - 1.0) * one / base
        total += weights[first + j] * (products[j] * kernel + slopes[j] * one - d * one - square[j] * two)
    return total


@jit
def _stein_rows(
    start: int, stop: int, positions: Array, scores: Array, blocks: Array, score_blocks: Array, weights: Array,
    length: float, power: float, result: Array,
) -> None:  # fmt: skip
    _, d, size = blocks.shape
    m = len(weights)
    buffers = np.empty((3, size))
    for tile in range(start, stop, TILE):
        result[tile : min(tile + TILE, stop)] = 0.0
        for b in range(len(blocks)):
            n = min(size, m - b * size)
            for i in range(tile, min(tile + TILE, stop)):
                squares(positions[i], blocks[b], n, buffers[0])
                _stein_slopes(positions[i], scores[i], blocks[b], score_blocks[b], n, buffers)
                result[i] += _stein_block(weights, b * size, n, d, length, power, buffers)


def in_blocks(points: Array) -> Array:
    """Return points (m, d) as blocks (number, d, size), the last of which ends with zeros."""
    m, d = points.shape
    size = BLOCK
    while size > SMALLEST and size * d > NUMBERS:
        size //= 2
    size = max(1, min(size, m))
    blocks = np.zeros((-(-m // size), d, size))
    for b, block in enumerate(blocks):
        part = points[b * size : (b + 1) * size]
        block[:, : len(part)] = part.T
    return contiguous(blocks)


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
    x, blocks = contiguous(at), in_blocks(np.asarray(sources, dtype=np.float64))
    weights = contiguous(log_weights)
    skipped = contiguous(np.full(len(x), -1) if leave_out is None else leave_out, np.int64)
    result = np.empty(len(x))
    by_rows(_log_rows, len(x), len(weights), x, blocks, weights, 0.5 / variance, skipped, result)
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
    blocks, score_blocks = in_blocks(x), in_blocks(s)
    result = np.empty(len(x))
    by_rows(_stein_rows, len(x), len(x), x, s, blocks, score_blocks, own, float(length), float(power), result)
    return result


def _sums(at: Array, sources: Array, weights: Array, kind: int, scale: float) -> Array:
    x, blocks = contiguous(at), in_blocks(np.asarray(sources, dtype=np.float64))
    own = contiguous(weights)
    result = np.empty(len(x))
    by_rows(_rows, len(x), len(own), x, blocks, own, kind, scale, result)
    return result


def by_rows(loop: Callable[..., Any], n: int, m: int, *arguments: Any) -> None:
    """Call a loop over n rows of m pairs, by threads where they are worth their start."""
    if n * m < PARALLEL_FROM:
        loop(0, n, *arguments)
    else:
        share_rows(loop, n, *arguments)
