"""The mass of a computed density by a quadrature of its own: between the cell centres, and up to the walls."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wfr_pde.axis import Axis
from wfr_pde.grid import Grid
from wfr_pde.problem import Problem
from wfr_pde.residual import Places, along

Array = np.ndarray[Any, np.dtype[np.float64]]

MOST_PLACES = 3e7  # beyond, the mass is that of the sum over the cells


class MassQuadrature:
    """Romberg sums over the centres and the edges of the cells, for g interpolated and V exact.

    Trapezoidal sums with cells, half and twice as wide give order 6 where walls or joints of an axis cut through mass,
    and are spectrally accurate where a smooth density ends inside.
    """

    def __init__(self, problem: Problem, grid: Grid) -> None:
        self.problem, self.grid = problem, grid
        self.axes = [_romberg(axis) for axis in grid.axes]
        self._potential: Array | None = None

    @property
    def fits(self) -> bool:
        """Whether there is room for it."""
        return math.prod(len(x) for x, _, _, _ in self.axes) <= MOST_PLACES

    def _exact(self, t: float) -> Array:
        """V at all places."""
        if self._potential is not None:
            return self._potential
        mesh = np.stack(np.meshgrid(*(x for x, _, _, _ in self.axes), indexing="ij"), axis=-1)
        potential = -np.asarray(self.problem.target.at(t).log_density(mesh))
        if not self.problem.target.moving:
            self._potential = potential
        return potential

    def __call__(self, log_values: Array, potential: Array, t: float) -> tuple[float, float]:
        """Logarithm of the mass of a density given at the centres, with V there, and by how much it is in doubt."""
        g = log_values + potential
        for k, (_, matrix, _, _) in enumerate(self.axes):
            g = np.concatenate([g, along(matrix, g, k)], axis=k)
        log_density = g - self._exact(t)
        top = float(log_density.max())
        values = np.exp(log_density - top)
        sums = []
        for kind in (2, 3):
            total: Any = values
            for axis in reversed(self.axes):
                total = total @ axis[kind]
            sums.append(float(total))
        best, rough = (top + math.log(total) if total > 0 else -math.inf for total in sums)
        return best, abs(best - rough)


def _romberg(axis: Axis) -> tuple[Array, Any, Array, Array]:
    """Places, the matrix from the centres to those beyond them, and weights of order 6 and of order 4."""
    places, n = Places(axis), axis.n
    x = np.concatenate([axis.centres, places.x])
    slope = places.value @ axis.widths  # of the map of the axis, at the places
    at_edges = np.zeros(len(places.x))
    np.add.at(at_edges, places.below, 0.5)
    np.add.at(at_edges, places.below + 1, 0.5)
    middles, even = np.zeros(len(places.x)), np.zeros(len(places.x))
    middles[places.below[1::2]] = 2.0  # of the joined cells
    np.add.at(even, places.below[::2], 1.0)
    np.add.at(even, places.below[1::2] + 1, 1.0)
    zero = np.zeros(n)
    coarse = np.concatenate([zero, even * slope])
    fine = np.concatenate([zero, at_edges * slope])
    finest = 0.5 * (fine + np.concatenate([axis.widths, 0 * slope]))
    first, second = (4 * fine - coarse) / 3, (4 * finest - fine) / 3
    return x, places.value, (16 * second - first) / 15, second
