"""The attempts of `TeleportingWalkers`, compiled."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from wfr_pde.numerics.typing import Array

LOST = 1e-3  # of the largest value of a sum since it was last computed afresh: below, differences have lost digits

jit = numba.njit(cache=True, nogil=True, error_model="numpy")


@jit
def _kernels(x: Array, at: Array, half_precision: float, result: Array) -> None:
    """Compute result_l ← exp(-half_precision |x_l - at|²)."""
    for i in range(len(x)):
        square = 0.0
        for k in range(x.shape[1]):
            square += (x[i, k] - at[k]) ** 2
        result[i] = np.exp(-half_precision * square)


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
    """Put the clone at place j; `near` are its kernels with all."""
    _kernels(x, x[j], half_precision, buffer)
    x[j] = clone
    for i in range(len(x)):
        crowds[i] += near[i] - buffer[i]
        peaks[i] = max(peaks[i], crowds[i])
    crowds[j] = peaks[j] = _sum_without(near, j)
    for i in range(len(x)):
        if crowds[i] < LOST * peaks[i]:
            _kernels(x, x[i], half_precision, buffer)
            crowds[i] = peaks[i] = _sum_without(buffer, i)


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
        _kernels(x, clones[a], half_precision, near)
        top = -np.inf
        for i in range(n):
            weights[i] = np.log(crowds[i] + near[i]) - log_pi[i]
            top = max(top, weights[i])
        for i in range(n):
            weights[i] = np.exp(weights[i] - top)
        total = weights.sum()
        j = _chosen(weights, uniforms[a, 0] * total)
        own = np.exp(np.log(near.sum()) - log_pi_clones[a] - top)
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
        Sums of the kernels of all others at a walker, and their largest value since they were computed afresh.
    parents, clones, log_pi_clones, uniforms : arrays (m,), (m, d), (m,), (m, 2)
        Of the attempts.
    bandwidth : float

    Returns
    -------
    int
        Number of attempts done, at least one.
    """
    return int(_attempts(x, log_pi, crowds, peaks, parents, clones, log_pi_clones, uniforms, 0.5 / bandwidth**2))
