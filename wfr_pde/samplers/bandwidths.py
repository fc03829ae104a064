"""Bandwidths of kernels by the median of the distances between particles."""

from __future__ import annotations

import math

import numpy as np

from wfr_pde.numerics.arguments import length
from wfr_pde.numerics.typing import Array

MOST = 1000  # particles whose distances are looked at: evenly spaced numbers of them where there are more


def median_distance(positions: Array) -> float:
    """Return the median of the distances between different particles, of 1000 of them where there are more.

    Raises
    ------
    ValueError
        If it is zero.
    """
    n = len(positions)
    points = positions[np.linspace(0, n - 1, min(n, MOST)).astype(np.int64)]
    i, j = np.triu_indices(len(points), 1)
    squares = np.zeros(len(i))
    for k in range(points.shape[1]):
        squares += (points[i, k] - points[j, k]) ** 2
    distance = math.sqrt(float(np.median(squares))) if n > 1 else 0.0
    if not distance > 0:
        raise ValueError("most particles are at one place, and no bandwidth can be found: give bandwidth=")
    return distance


def checked_bandwidth(bandwidth: float | None) -> float | None:
    """Return a bandwidth as a float, if it is positive, or None where none is given.

    Raises
    ------
    ValueError
    """
    return None if bandwidth is None else length("bandwidth", bandwidth, "a standard deviation")
