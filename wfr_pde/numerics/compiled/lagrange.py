"""Lagrange interpolation of high order at scattered places of a regular array, compiled."""

from __future__ import annotations

import numba
import numpy as np

from wfr_pde.numerics.typing import Array


@numba.njit(cache=True, nogil=True, error_model="numpy")
def interpolate(values: Array, places: Array, nodes: int, result: Array) -> None:
    """Interpolate `values` (n_1, n_2, n_3) at `places` (m, 3), in units of cells from the first, by `nodes` per axis.

    Along an axis of one cell there is nothing to interpolate. Places lie at least `nodes` / 2 cells inside the array
    along the others. At a cell the value is that of the cell to the bit.
    """
    weights = np.ones((3, nodes))
    first = np.zeros(3, dtype=np.int64)
    count = np.ones(3, dtype=np.int64)
    for k in range(3):
        if values.shape[k] > 1:
            count[k] = nodes
    for i in range(places.shape[0]):
        for k in range(3):
            if count[k] == 1:
                continue
            first[k] = int(np.floor(places[i, k])) - (nodes - 1) // 2
            at = places[i, k] - first[k]
            for a in range(nodes):
                weight = 1.0
                for b in range(nodes):
                    if b != a:
                        weight *= (at - b) / (a - b)
                weights[k, a] = weight
        total = 0.0
        for a in range(count[0]):
            plane = 0.0
            for b in range(count[1]):
                line = 0.0
                for c in range(count[2]):
                    line += weights[2, c] * values[first[0] + a, first[1] + b, first[2] + c]
                plane += weights[1, b] * line
            total += weights[0, a] * plane
        result[i] = total
