"""Compiled sums over the places that a density of points is made of."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def mean_of_order_eight(x: Array, places: Array, scales: Array, spread: float, period: float) -> Array:
    """(1/n Σ_j (s_j² + (spread d_j)²)^-4)^(1/8), d_j the distance of x from place j, by the chord if `period` > 0."""
    result = np.empty(len(x))
    for i in range(len(x)):
        total = 0.0
        for j in range(len(places)):
            distance = x[i] - places[j]
            if period > 0:
                distance = period / np.pi * np.sin(np.pi * distance / period)
            square = scales[j] ** 2 + (spread * distance) ** 2
            total += 1 / (square * square) ** 2
        result[i] = (total / len(places)) ** 0.125
    return result
