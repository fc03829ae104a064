"""Sums of a Gaussian kernel over many points by way of a grid: deposit, convolve axis by axis, look up.

Points spread over the nodes by cubic B-splines, and sums are taken from the nodes by the same. A cubic B-spline of
spacing h has the variance h²/3 wherever the point is, so that a Gaussian of variance v - 2h²/3 between the nodes makes
one of variance v between the points, up to O((h²/v)²). All terms are positive.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from wfr_pde.numerics.compiled.inputs import contiguous
from wfr_pde.numerics.typing import Array

NODES_PER_DEVIATION = 4.0  # the relative error is 2e-4, a twentieth of (h²/v)²
REACH = 9.0  # standard deviations to which the kernel is followed, down to e^-40
MOST_NODES = 2**26  # half a GiB; sums over pairs take over

jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@jit
def _spline(u: float, out: Array) -> None:
    """Compute the cubic B-spline weights of the four nodes around a point, which is u in [0, 1) above the second."""
    v = 1.0 - u
    out[0] = v * v * v / 6.0
    out[1] = (4.0 - 6.0 * u * u + 3.0 * u * u * u) / 6.0
    out[2] = (4.0 - 6.0 * v * v + 3.0 * v * v * v) / 6.0
    out[3] = u * u * u / 6.0


@jit
def _around(point: Array, lower: Array, spacing: float, strides: Any, share: Array) -> int:
    """Return the number of the first of the 4^d nodes around a point; put their weights per axis in `share` (d, 4)."""
    first = 0
    for k in range(len(point)):
        place = (point[k] - lower[k]) / spacing
        i = int(np.floor(place))
        _spline(place - i, share[k])
        first += (i - 1) * strides[k]
    return first


@jit
def _deposit(points: Array, weights: Array, lower: Array, spacing: float, strides: Any, nodes: Array) -> None:
    """Compute nodes += Σ_j w_j B(· - x_j), for flat nodes."""
    d = points.shape[1]
    share = np.empty((d, 4))
    for j in range(len(points)):
        first = _around(points[j], lower, spacing, strides, share)
        for corner in range(4**d):
            q, w, rest = first, weights[j], corner
            for k in range(d):
                q += (rest % 4) * strides[k]
                w *= share[k, rest % 4]
                rest //= 4
            nodes[q] += w


@jit
def _look_up(points: Array, lower: Array, spacing: float, strides: Any, nodes: Array, result: Array) -> None:
    """Compute result_i = Σ_q B(x_i - q) nodes_q."""
    d = points.shape[1]
    share = np.empty((d, 4))
    for j in range(len(points)):
        first = _around(points[j], lower, spacing, strides, share)
        total = 0.0
        for corner in range(4**d):
            q, w, rest = first, 1.0, corner
            for k in range(d):
                q += (rest % 4) * strides[k]
                w *= share[k, rest % 4]
                rest //= 4
            total += w * nodes[q]
        result[j] = total


def number_of_nodes(at: Array, sources: Array, variance: float) -> float:
    """Count the nodes of the grid that the points would need: inf where that is no number, as in 100 dimensions."""
    spacing = math.sqrt(variance) / NODES_PER_DEVIATION
    lower, upper = np.minimum(at.min(axis=0), sources.min(axis=0)), np.maximum(at.max(axis=0), sources.max(axis=0))
    with np.errstate(over="ignore"):
        return float(np.prod((upper - lower) / spacing + 8))


def affordable(at: Array, sources: Array, variance: float) -> bool:
    """Return whether the nodes that `binned_kernel_sums` needs for these points are at most `MOST_NODES`."""
    return number_of_nodes(at, sources, variance) <= MOST_NODES


def binned_kernel_sums(at: Array, sources: Array, weights: Array, variance: float) -> Array:
    """Compute Σ_j w_j exp(-|x_i - y_j|² / (2 variance)), shape (n,), for weights >= 0.

    The relative error is 2e-4 at most where the x_i are not far from the y_j. Time and memory grow with the numbers of
    points and nodes; these are four per standard deviation of the kernel along every axis.

    Parameters
    ----------
    at : array (n, d)
        The x_i.
    sources : array (m, d)
        The y_j.
    weights : array (m,)
    variance : float

    Raises
    ------
    ValueError
        If more than 2^26 nodes were needed.
    """
    from scipy.ndimage import correlate1d

    every = np.concatenate([at, sources])
    number = number_of_nodes(at, sources, variance)
    if number > MOST_NODES:
        raise ValueError(
            f"a kernel of standard deviation {math.sqrt(variance):.3g} needs {number:.2g} nodes to span the points, "
            f"more than {MOST_NODES}: sum over pairs, or use a wider kernel"
        )
    spacing = math.sqrt(variance) / NODES_PER_DEVIATION
    lower = every.min(axis=0) - 2 * spacing
    shape = np.floor((every.max(axis=0) - lower) / spacing).astype(int) + 4
    strides = np.append(np.cumprod(shape[:0:-1])[::-1], 1).astype(np.int64)
    nodes = np.zeros(int(np.prod(shape)))
    points, own = contiguous(sources), contiguous(weights)
    _deposit(points, own, lower, spacing, strides, nodes)
    inner = variance - 2 * spacing**2 / 3
    reach = math.ceil(REACH * math.sqrt(inner) / spacing)
    kernel = np.exp(-((spacing * np.arange(-reach, reach + 1)) ** 2) / (2 * inner))
    kernel *= math.sqrt(variance / inner)  # a Gaussian that is one at zero, made wider by the splines
    values = nodes.reshape(shape)
    for k in range(len(shape)):
        values = correlate1d(values, kernel, axis=k, mode="constant")
    result = np.empty(len(at))
    _look_up(contiguous(at), lower, spacing, strides, values.ravel(), result)
    return result
