"""The mass of a computed density by the sums over the cells of five grids, extrapolated, with V exact on each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wfr_pde.error_estimates import NOISE, is_asymptotic, single_grid_bound
from wfr_pde.grid import Grid
from wfr_pde.grid_family import Cells
from wfr_pde.nested import Interpolation
from wfr_pde.problem import Problem
from wfr_pde.residual import ABOVE, along, around, stencils
from wfr_pde.richardson import richardson

Array = np.ndarray[Any, np.dtype[np.float64]]


class FamilyMass:
    """Logarithm of the mass of a density given at the centres of the finest grid.

    g = log mu + V is smooth and is interpolated to the centres of the other grids; V is evaluated there. The sums over
    the cells, whose error has powers of dx where walls, kinks or jumps cut through mass, are extrapolated; where a
    smooth density ends inside, all are right. Their spread is the doubt.
    """

    def __init__(self, problem: Problem, grids: Sequence[Grid], ratios: Sequence[float], cells: Cells) -> None:
        self.problem, self.grids, self.ratios = problem, grids, ratios
        self.powers, self.real_walls = cells.powers, cells.real_walls
        self._starts: list[Array] | None = None
        self.matrices = [stencils(Interpolation(grids[-1], grid, NODES), grids[-1]) for grid in grids[:-1]]
        self._potentials: list[Array] | None = None

    def potentials(self, t: float) -> list[Array]:
        """V at the centres of all grids at a time."""
        if self._potentials is not None:
            return self._potentials
        target = self.problem.seen(t).target
        found = [-np.asarray(grid.evaluate(target.log_density)) for grid in self.grids]
        if not self.problem.target.moving and self.problem.ceilings is None:
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
            moved = moved - potential
            if self.problem.ceilings is not None:  # high up polynomials through few cells say nothing
                moved = np.minimum(moved, around(log_values, self.grids[-1], grid) + ABOVE)
            sums.append(float(grid.log_integrate(moved)))
        sums.append(float(self.grids[-1].log_integrate(log_values)))
        return self._extrapolated(sums)

    def by_reaction(self, t: float) -> tuple[float, float]:
        """The same, beside the finest sum, for mu_0^s pi^(1-s), s = e^(-beta t): what a reaction makes of the start.

        It is evaluated on every grid. At the beginning it is the start, whose normaliser may be known.
        """
        since = t - float(self.problem.times[0])
        s, start = math.exp(-self.problem.beta * since), self.problem.start
        if self._starts is None:
            self._starts = [np.asarray(grid.evaluate(start.log_density)) for grid in self.grids]
        potentials = self.potentials(t) if since > 0 else [np.zeros(grid.shape) for grid in self.grids]
        values = [s * own - (1 - s) * potential for own, potential in zip(self._starts, potentials, strict=True)]
        sums = [float(grid.log_integrate(own)) for grid, own in zip(self.grids, values, strict=True)]
        if since == 0 and start.log_normaliser is not None and not self.real_walls:
            return float(start.log_normaliser) - sums[-1], 0.0
        best, doubt = self._extrapolated(sums)
        return best - sums[-1], doubt

    def _extrapolated(self, sums: Sequence[float]) -> tuple[float, float]:
        """The limit of sums whose error falls as dx²; else the finest, with the distance of the two finest."""
        gaps = [abs(b - a) for a, b in itertools.pairwise(sums)]
        if not all(math.isfinite(value) for value in sums):
            return sums[-1], math.inf
        if max(gaps) <= NOISE or not is_asymptotic(gaps, self.ratios):
            return sums[-1], single_grid_bound(gaps[-1], self.ratios)
        above, best, below = (float(np.dot(richardson(self.ratios[k:], self.powers), sums[k:])) for k in (0, 1, 2))
        return best, max(abs(above - best), 0.1 * abs(best - below))


NODES = 14  # of the interpolation
