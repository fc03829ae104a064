"""Nested grids: from the cells of a grid to those joined in pairs, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from wfr_pde.axis import Axis
from wfr_pde.grid import Grid

Array = np.ndarray[Any, np.dtype[np.float64]]


class Interpolation:
    """Values at the centres of one grid from those of another on the same box, by local polynomials axis by axis.

    Parameters
    ----------
    source, destination : Grid
    nodes : int
        Number of centres that a polynomial goes through; the error is of that order in dx.
    """

    def __init__(self, source: Grid, destination: Grid, nodes: int) -> None:
        self.xp = source.backend.xp
        asarray = source.backend.asarray
        self.axes = []
        for k, (a, b) in enumerate(zip(source.axes, destination.axes, strict=True)):
            index, weights = local_weights(a, b.centres, nodes)
            place = [-1 if i == k else 1 for i in range(source.ndim)]
            self.axes.append(
                [(asarray(index[:, j].copy()), asarray(weights[:, j].reshape(place).copy())) for j in range(nodes)]
            )

    def __call__(self, values: Any) -> Any:
        """The interpolated values."""
        for k, terms in enumerate(self.axes):
            total: Any = 0.0
            for index, weight in terms:
                total = self.xp.take(values, index, axis=k) * weight + total
            values = total
        return values


def local_weights(axis: Axis, points: Array, nodes: int, even: bool = False) -> tuple[np.ndarray, Array]:
    """Indices (m, nodes) of the centres nearest to `points` (m,), and the weights of the polynomial through them.

    With `even`, values are continued beyond no-flux walls as in a mirror.
    """
    centres = axis.centres
    above = np.searchsorted(centres, points)
    first = above - nodes // 2
    if not axis.periodic and not even:
        first = np.clip(first, 0, axis.n - nodes)
    index = first[:, None] + np.arange(nodes)
    if axis.periodic or not even:
        places = centres[index % axis.n] + axis.length * (index // axis.n)
    else:
        turns, index = index // (2 * axis.n), index % (2 * axis.n)
        mirrored = index >= axis.n
        index = np.where(mirrored, 2 * axis.n - 1 - index, index)
        places = np.where(mirrored, 2 * axis.edges[-1] - centres[index], centres[index]) + 2 * axis.length * turns
    weights = np.ones((len(points), nodes))
    for j in range(nodes):
        for i in range(nodes):
            if i != j:
                weights[:, j] *= (points - places[:, i]) / (places[:, j] - places[:, i])
    return index % axis.n, weights
