"""Bandwidths of kernels by the median of the distances between particles."""

from __future__ import annotations

import math

import numpy as np

from wfr_pde.numerics.arguments import length
from wfr_pde.numerics.typing import Array

# particles whose distances are looked at, evenly spaced ones where there are more: the median of 5e5 distances is known
# to a few per cent, in 10 ms
MOST = 1000


def median_distance(positions: Array) -> float:
    """Return the median of the distances between different particles, of 1000 of them where there are more.

    Raises
    ------
    ValueError
        If it is zero.
    """
    from scipy.spatial.distance import pdist

    n = len(positions)
    points = positions[np.linspace(0, n - 1, min(n, MOST)).astype(np.int64)]
    squares = pdist(points, "sqeuclidean")
    distance = math.sqrt(float(np.median(squares, overwrite_input=True))) if n > 1 else 0.0
    if not distance > 0:
        raise ValueError("most particles are at one place, and no bandwidth can be found: give bandwidth=")
    return distance


def checked_bandwidth(bandwidth: float | None) -> float | None:
    """Return a bandwidth as a float, or None where none is given.

    Raises
    ------
    ValueError
        If it is not positive.
    """
    return None if bandwidth is None else length("bandwidth", bandwidth, "a standard deviation")
