"""The attempts of `TeleportingWalkers`, compiled."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from wfr_pde.numerics.typing import Array

LOST = math.log(1e-3)  # of the largest value of a sum since it was last computed afresh: below, digits are lost
NOTHING = 50.0  # nats below a sum at which a term is lost in rounding

jit = numba.njit(cache=True, nogil=True, error_model="numpy")


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _square(x: Array, y: Array) -> float:
    total = 0.0
    for k in range(len(x)):
        total += (x[k] - y[k]) ** 2
    return total


@jit
def _exponents(x: Array, at: Array, half_precision: float, result: Array) -> None:
    """Compute result_l ← -half_precision |x_l - at|², logarithms of kernels, which underflow in many dimensions."""
    for i in range(len(x)):
        result[i] = -half_precision * _square(x[i], at)


@jit
def _log_of_both(a: float, b: float) -> float:
    """Return log(e^a + e^b)."""
    high, low = max(a, b), min(a, b)
    return high if high - low > NOTHING or high == -np.inf else high + np.log1p(np.exp(low - high))


@jit
def _log_sum_without(values: Array, left_out: int) -> float:
    """Return the logarithm of the sum of e^values but that of one place."""
    top, total = -np.inf, 0.0
    for i in range(len(values)):
        if i != left_out:
            top = max(top, values[i])
    if top == -np.inf:
        return top
    for i in range(len(values)):
        if i != left_out and values[i] > top - NOTHING:
            total += np.exp(values[i] - top)
    return top + np.log(total)


@jit
def _sum_without(values: Array, left_out: int) -> float:
    total = 0.0
    for i in range(len(values)):
        if i != left_out:
            total += values[i]
    return total


@jit
def _chosen(weights: Array, level: float) -> int:
    """Return the first number with a cumulative weight above `level`."""
    total, last = 0.0, 0
    for i in range(len(weights)):
        if weights[i] > 0:
            total += weights[i]
            last = i
            if total > level:
                break
    return last


@jit
def _replace(
    x: Array, crowds: Array, peaks: Array, j: int, clone: Array, near: Array, half_precision: float, buffer: Array
) -> None:
    """Put the clone at place j; `near` are the logarithms of its kernels with all."""
    _exponents(x, x[j], half_precision, buffer)
    x[j] = clone
    for i in range(len(x)):
        if max(near[i], buffer[i]) < crowds[i] - NOTHING:
            continue
        both = _log_of_both(crowds[i], near[i])
        peaks[i] = max(peaks[i], both)
        crowds[i] = both + np.log1p(-np.exp(buffer[i] - both)) if buffer[i] < both else -np.inf
    crowds[j] = peaks[j] = _log_sum_without(near, j)
    for i in range(len(x)):
        if crowds[i] < LOST + peaks[i]:
            _exponents(x, x[i], half_precision, buffer)
            crowds[i] = peaks[i] = _log_sum_without(buffer, i)


@jit
def _attempts(
    x: Array, log_pi: Array, crowds: Array, peaks: Array, parents: Any, clones: Array, log_pi_clones: Array,
    uniforms: Array, half_precision: float,
) -> int:  # fmt: skip
    n = len(x)
    near, weights, buffer = np.empty(n), np.empty(n), np.empty(n)
    moved = np.zeros(n, dtype=np.bool_)
    for a in range(len(parents)):
        if moved[parents[a]]:
            return a  # the clone is of a place that has been left
        if not np.isfinite(log_pi_clones[a]):
            continue
        _exponents(x, clones[a], half_precision, near)
        top = -np.inf
        for i in range(n):
            weights[i] = _log_of_both(crowds[i], near[i]) - log_pi[i]
            top = max(top, weights[i])
        for i in range(n):
            weights[i] = np.exp(weights[i] - top)
        total = weights.sum()
        j = _chosen(weights, uniforms[a, 0] * total)
        own = np.exp(_log_sum_without(near, -1) - log_pi_clones[a] - top)
        if uniforms[a, 1] * (_sum_without(weights, j) + own) < total:
            _replace(x, crowds, peaks, j, clones[a], near, half_precision, buffer)
            log_pi[j] = log_pi_clones[a]
            moved[j] = True
    return len(parents)


def teleport(
    x: Array,
    log_pi: Array,
    crowds: Array,
    peaks: Array,
    *,
    parents: Any,
    clones: Array,
    log_pi_clones: Array,
    uniforms: Array,
    bandwidth: float,
) -> int:
    """Do attempts in turn, up to one whose parent has been moved; the first four arguments change in place.

    Parameters
    ----------
    x, log_pi : arrays (n, d) and (n,)
        Walkers, and the log-density there.
    crowds, peaks : arrays (n,)
        Logarithms of the sums of the kernels of all others at a walker, and their largest value since they were
        computed afresh.
    parents, clones, log_pi_clones, uniforms : arrays (m,), (m, d), (m,), (m, 2)
        Of the attempts.
    bandwidth : float

    Returns
    -------
    int
        Number of attempts done, at least one.
    """
    return int(_attempts(x, log_pi, crowds, peaks, parents, clones, log_pi_clones, uniforms, 0.5 / bandwidth**2))
