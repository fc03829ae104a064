"""The mass of a computed density by the sums over the cells of five grids, extrapolated, with V exact on each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wfr_pde.grid import Grid
from wfr_pde.nested import Interpolation
from wfr_pde.problem import Problem
from wfr_pde.residual import along, stencils
from wfr_pde.richardson import richardson

Array = np.ndarray[Any, np.dtype[np.float64]]


class FamilyMass:
    """Logarithm of the mass of a density given at the centres of the finest grid.

    g = log mu + V is smooth and is interpolated to the centres of the other grids; V is evaluated there. The sums over
    the cells, whose error has powers of dx where walls, kinks or jumps cut through mass, are extrapolated; where a
    smooth density ends inside, all are right. Their spread is the doubt.
    """

    def __init__(
        self, problem: Problem, grids: Sequence[Grid], ratios: Sequence[float], powers: Sequence[float]
    ) -> None:
        self.problem, self.grids, self.ratios, self.powers = problem, grids, ratios, powers
        self.matrices = [stencils(Interpolation(grids[-1], grid, NODES), grids[-1]) for grid in grids[:-1]]
        self._potentials: list[Array] | None = None

    def potentials(self, t: float) -> list[Array]:
        """V at the centres of all grids at a time."""
        if self._potentials is not None:
            return self._potentials
        target = self.problem.target.at(t)
        found = [-np.asarray(grid.evaluate(target.log_density)) for grid in self.grids]
        if not self.problem.target.moving:
            self._potentials = found
        return found

    def __call__(self, log_values: Array, t: float) -> tuple[float, float]:
        """Logarithm of the mass, and by how much it is in doubt."""
        potentials = self.potentials(t)
        g = log_values + potentials[-1]
        sums = []
        for grid, matrices, potential in zip(self.grids, self.matrices, potentials, strict=False):
            moved = g
            for axis, matrix in enumerate(matrices):
                moved = along(matrix, moved, axis)
            sums.append(float(grid.log_integrate(moved - potential)))
        sums.append(float(self.grids[-1].log_integrate(log_values)))
        return self._extrapolated(sums)

    def of_start(self) -> tuple[float, float]:
        """The same for the start, evaluated on every grid."""
        start = self.problem.start
        return self._extrapolated(
            [float(g.log_integrate(np.asarray(g.evaluate(start.log_density)))) for g in self.grids]
        )

    def _extrapolated(self, sums: Sequence[float]) -> tuple[float, float]:
        orders = [float(np.dot(richardson(self.ratios[k:], self.powers), sums[k:])) for k in (1, 0, 2)]
        best, above, below = orders
        if not all(math.isfinite(value) for value in orders):
            return sums[-1], math.inf
        # where the sums agree to rounding, so do all; where they do not, the distance of two orders
        return best, max(abs(above - best), 0.1 * abs(best - below))


NODES = 14  # of the interpolation
