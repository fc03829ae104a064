"""Intervals of even mass summed in equal bins of a line, compiled."""

from __future__ import annotations

import numba

from wfr_pde.numerics.typing import Array


@numba.njit(cache=True, nogil=True, error_model="numpy")
def deposit(centre: Array, half: Array, mass: Array, lower: float, step: float, result: Array) -> None:
    """Add mass_i, spread evenly over centre_i ± half_i, to the bins [lower + j step, lower + (j + 1) step]."""
    last = len(result) - 1
    for i in range(len(centre)):
        a, b = (centre[i] - half[i] - lower) / step, (centre[i] + half[i] - lower) / step
        start, stop = min(max(int(a), 0), last), min(max(int(b), 0), last)
        if start == stop:
            result[start] += mass[i]
            continue
        rate = mass[i] / (b - a)
        first, final = rate * (start + 1 - a), rate * (b - stop)
        result[start] += first
        result[stop] += final
        for j in range(start + 1, stop):
            result[j] += rate
